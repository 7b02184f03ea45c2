"""Playbooks that come with the product: folders of files to copy, edit and apply, each with what it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns import files
from campaigns.files import File
from crm.base.errors import NotFound, Refused

HERE = Path(__file__).parent / "data" / "playbooks"
ABOUT = "说明.md"


@dataclass(frozen=True, slots=True)
class Playbook:
    """One of them. lead: the first paragraph of what it is; about: all of it, with what staff do by hand."""

    name: str
    lead: str
    about: str
    folder: Path

    def files(self) -> list[File]:
        return files.read_folder(self.folder)


@dataclass(eq=False)
class PlaybookNotFound(NotFound):
    """There is none of this name."""

    code = "playbook.not_found"
    name: str


@dataclass(eq=False)
class WouldOverwrite(Refused):
    """A file of this name lies there already; nothing was copied."""

    code = "playbook.would_overwrite"
    path: str


def everything() -> Sequence[Playbook]:
    """All, by name."""
    return [_read(folder) for folder in sorted(HERE.iterdir()) if folder.is_dir()]


def get(name: str) -> Playbook:
    """Raises PlaybookNotFound."""
    found = next((one for one in everything() if one.name == name), None)
    if found is None:
        raise PlaybookNotFound(name)
    return found


def _read(folder: Path) -> Playbook:
    about = (folder / ABOUT).read_text(encoding="utf-8").strip()
    return Playbook(folder.name, about.split("\n\n")[0], about, folder)


def copy(name: str, to: Path) -> list[Path]:
    """Copy a playbook's files; returns where they lie. All or none. Raises PlaybookNotFound, WouldOverwrite."""
    told = sorted(path for path in get(name).folder.iterdir() if path.suffix in {".yaml", ".md"})
    targets = [to / (f"{name}.md" if path.name == ABOUT else path.name) for path in told]
    for target in targets:
        if target.exists():
            raise WouldOverwrite(str(target))
    to.mkdir(parents=True, exist_ok=True)
    for path, target in zip(told, targets, strict=True):
        target.write_bytes(path.read_bytes())
    return targets
