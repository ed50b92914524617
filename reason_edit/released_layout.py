"""The authors' folders (`1-Left-Right` ... `6-Reasoning`, `<instruction> CLIP: <label>`) as samples.

Source: the files that SmartEdit's test script reads. Line i of a folder's text file belongs to the i-th picture in
lexicographic order of the file names, which is not the numeric order where names are not zero-padded.
"""

import re
from collections import Counter
from pathlib import Path

from reason_edit.problems import Problem, ProblemKind
from reason_edit.schema import PAPER_CATEGORIES, Category, EditSample

FOLDERS: dict[Category, str] = {
    Category.LEFT_RIGHT: "1-Left-Right",
    Category.RELATIVE_SIZE: "2-Relative-Size",
    Category.MIRROR: "3-Mirror",
    Category.COLOR: "4-Color",
    Category.MULTIPLE_OBJECTS: "5-Multiple-Objects",
    Category.REASONING: "6-Reasoning",
    Category.ADD_SUPPLEMENT: "7-Add-supp",
}
"""The released folder of each category."""

TEXT_FILES: dict[Category, str] = {
    Category.LEFT_RIGHT: "Left_Right_text.txt",
    Category.RELATIVE_SIZE: "Size_text.txt",
    Category.MIRROR: "Mirror_text.txt",
    Category.COLOR: "Color_text.txt",
    Category.MULTIPLE_OBJECTS: "MultipleObjects_text.txt",
    Category.REASONING: "Reason_test.txt",
    Category.ADD_SUPPLEMENT: "add_text.txt",
}
"""The released text file of each category."""

KEYWORDS: dict[str, Category] = {
    "leftright": Category.LEFT_RIGHT,
    "size": Category.RELATIVE_SIZE,
    "mirror": Category.MIRROR,
    "color": Category.COLOR,
    "colour": Category.COLOR,
    "multipleobject": Category.MULTIPLE_OBJECTS,
    "reason": Category.REASONING,
    "addsupp": Category.ADD_SUPPLEMENT,
}
"""What a folder's name holds, once its case, digits and punctuation are dropped."""

ANSWERS = "answers"
"""A sub-folder for what only the evaluator may see; never read as a category."""

PICTURES = {".png", ".jpg", ".jpeg"}
LABEL = re.compile(r"\s*CLIP:(.*?)(?:CLIP: .*)?$")


def category_of(folder_name: str) -> Category | None:
    """The category that a folder's name means, in the released spelling, ours, or one close to it."""
    letters = re.sub(r"[^a-z]", "", folder_name.lower())
    return next((category for word, category in KEYWORDS.items() if word in letters), None)


def read_released(root: Path) -> tuple[list[EditSample], list[Problem]]:
    """Read the authors' folder layout.

    Args:
        root: The folder that holds the category folders.

    Returns:
        The samples of every category found, and all problems of the structure.
    """
    problems: list[Problem] = []
    folders: dict[Category, Path] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != ANSWERS):
        category = category_of(folder.name)
        if category is None:
            problems.append(
                Problem(
                    kind=ProblemKind.UNKNOWN_FOLDER,
                    where=folder.name,
                    message="the name is no category's",
                    remedy=f"name it like {', '.join(FOLDERS.values())}, or move it away",
                )
            )
        elif category in folders:
            problems.append(
                Problem(
                    kind=ProblemKind.DUPLICATE,
                    where=folder.name,
                    message=f"a second folder of {category}, beside {folders[category].name}",
                    remedy="keep one of them",
                    structural=True,
                )
            )
        else:
            folders[category] = folder
    problems += [
        Problem(
            kind=ProblemKind.MISSING_FOLDER,
            where=FOLDERS[category],
            message=f"no folder of the category {category}",
            remedy="add the folder; without it the table has no column for it",
            structural=not folders,
        )
        for category in PAPER_CATEGORIES
        if category not in folders
    ]
    samples: list[EditSample] = []
    for category in Category:
        if category in folders:
            found, wrong = _read_category(root, folders[category], category)
            samples += found
            problems += wrong
    return samples, problems


def _read_category(root: Path, folder: Path, category: Category) -> tuple[list[EditSample], list[Problem]]:
    """One folder: pair pictures and masks by name, and pictures and lines by lexicographic order."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    pictures = [p for p in files if p.suffix.lower() in PICTURES and not p.stem.endswith("_mask")]
    masks = {
        p.stem.removesuffix("_mask"): p for p in files if p.suffix.lower() in PICTURES and p.stem.endswith("_mask")
    }
    problems = _unpaired(root, pictures, masks, files)
    lines, text, text_problems = _read_lines(root, folder)
    problems += text_problems
    if text is not None and len(lines) != len(pictures):
        problems.append(
            Problem(
                kind=ProblemKind.LINE_COUNT,
                where=folder.name,
                message=f"{len(pictures)} pictures but {len(lines)} lines in {text.name}",
                remedy="lines belong to pictures in lexicographic order of the file names: make their numbers equal",
                structural=True,
            )
        )
    samples = []
    for number, (picture, line) in enumerate(zip(pictures, lines, strict=False), start=1):
        instruction, label = split_line(line)
        where = f"{folder.name}/{text.name if text else ''}:{number}"
        if label is None or not label:
            problems.append(
                Problem(
                    kind=ProblemKind.LINE_WITHOUT_LABEL,
                    where=where,
                    message=f"{line!r} names no label",
                    remedy="write it as `<instruction> CLIP: <label>`",
                    structural=True,
                )
            )
        if not instruction:
            problems.append(
                Problem(
                    kind=ProblemKind.EMPTY_INSTRUCTION,
                    where=where,
                    message=f"{line!r} holds no instruction",
                    remedy="write it as `<instruction> CLIP: <label>`",
                    structural=True,
                )
            )
        samples.append(
            EditSample(
                sample_id=f"{category}/{picture.stem}",
                category=category,
                instruction=instruction,
                target_label=label or "",
                image=picture,
                mask=masks.get(picture.stem, folder / f"{picture.stem}_mask.jpg"),
            )
        )
    return samples, problems


def split_line(line: str) -> tuple[str, str | None]:
    """The instruction and the label of one line; the label is None where there is no `CLIP:`."""
    match = LABEL.search(line)
    if match is None:
        return line.strip(), None
    return line[: match.start()].strip(), match.group(1).strip()


def _unpaired(root: Path, pictures: list[Path], masks: dict[str, Path], files: list[Path]) -> list[Problem]:
    counts = Counter(p.stem for p in pictures)
    where = {p.stem: p.relative_to(root).as_posix() for p in pictures}
    problems = [
        Problem(
            kind=ProblemKind.DUPLICATE,
            where=where[stem],
            message=f"{count} pictures are named {stem}",
            remedy="keep one of them",
            structural=True,
        )
        for stem, count in counts.items()
        if count > 1
    ]
    problems += [
        Problem(
            kind=ProblemKind.MISSING_MASK,
            where=where[stem],
            message=f"there is no {stem}_mask.jpg (or .png)",
            remedy="add the mask, or take the picture and its line away",
            structural=True,
        )
        for stem in counts
        if stem not in masks
    ]
    problems += [
        Problem(
            kind=ProblemKind.MISSING_IMAGE,
            where=mask.relative_to(root).as_posix(),
            message=f"a mask without a picture {stem}.png",
            remedy="add the picture, or take the mask away",
            structural=True,
        )
        for stem, mask in masks.items()
        if stem not in counts
    ]
    mask_counts = Counter(p.stem for p in files if p.suffix.lower() in PICTURES and p.stem.endswith("_mask"))
    problems += [
        Problem(
            kind=ProblemKind.DUPLICATE,
            where=masks[stem.removesuffix("_mask")].relative_to(root).as_posix(),
            message=f"{count} masks are named {stem}",
            remedy="keep one of them",
            structural=True,
        )
        for stem, count in mask_counts.items()
        if count > 1
    ]
    problems += [
        Problem(
            kind=ProblemKind.EXTRA_FILE,
            where=p.relative_to(root).as_posix(),
            message="neither picture, mask nor text",
            remedy="move it away",
        )
        for p in files
        if p.suffix.lower() not in {*PICTURES, ".txt"}
    ]
    if not pictures and not masks:
        problems.append(
            Problem(
                kind=ProblemKind.NO_IMAGES,
                where=files[0].parent.name if files else root.name,
                message="a category folder without pictures",
                remedy="add its pictures, or take the folder away",
                structural=True,
            )
        )
    return problems


def _read_lines(root: Path, folder: Path) -> tuple[list[str], Path | None, list[Problem]]:
    texts = sorted(folder.glob("*.txt"))
    if len(texts) != 1:
        named = f"{len(texts)} text files ({', '.join(t.name for t in texts)})" if texts else "no text file"
        problem = Problem(
            kind=ProblemKind.TEXT_FILE,
            where=folder.relative_to(root).as_posix(),
            message=f"{named} in the folder",
            remedy="there must be exactly one *.txt with a line a picture",
            structural=True,
        )
        return [], None, [problem]
    content = texts[0].read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines, texts[0], []
