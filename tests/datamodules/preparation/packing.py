"""Archives for tests: of whole folders, and such as nobody should trust."""

import io
import tarfile
import zipfile

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def pack(folder, archive, prefix=""):
    """Every file of a folder in an archive, whose kind its name tells, below the folders ``prefix``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [prefix + str(path.relative_to(folder)) for path in files]
    return pack_bytes(archive, {name: path.read_bytes() for name, path in zip(names, files, strict=True)})


def pack_bytes(archive, contents):
    """An archive of these contents by name, or of (name, content) pairs, where a name may be there twice."""
    pairs = contents.items() if isinstance(contents, dict) else contents
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in pairs:
                file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return archive
    with tarfile.open(archive, MODES["".join(archive.suffixes[-2:]) if archive.suffix != ".tar" else ".tar"]) as file:
        for name, content in pairs:
            add(file, name, content)
    return archive


def add(file, name, content=b"", kind=tarfile.REGTYPE, link=""):
    """A member of a tar file, exactly as asked."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    file.addfile(info, io.BytesIO(content))


def tree(root):
    """Content by path of all files below a folder."""
    paths = [path for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes() for path in paths
    }
