"""Pictures in the page's own text."""

import base64
import io

from PIL import Image

QUALITY = 88  # of JPEG: lines stay sharp, a face takes about 25 kB


def data_uri(image: Image.Image) -> str:
    """A picture as text that a page can hold."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY, subsampling=0)  # full colour resolution: lines are a pixel wide
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
