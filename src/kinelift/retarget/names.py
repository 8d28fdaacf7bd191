"""Which of a rig's bones is the left thigh: joint names of the common rigs, and a file of one's own where they fail.

Names are compared without case, separators, numbers and the prefixes that tools add (`mixamorig1:`, `Bip01`, `DEF-`,
`J_Bip`, `CC_Base`); the side is a word or letter at either end (`LeftArm`, `arm.L`, `l_arm`, the Japanese 左). What
the tree itself says is not asked of names: hips, spine and neck are found from where legs, arms and head meet.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from kinelift.errors import InputError

SIDES = ("left", "right")
# Parts of one side, from the body outwards; and what no rig may lack.
PARTS = ("upper_arm", "lower_arm", "hand", "upper_leg", "lower_leg", "foot", "toes")
NEEDED = tuple(f"{s}_{p}" for s in SIDES for p in PARTS[:-1])
ROLES = ("head", *(f"{s}_{p}" for s in SIDES for p in PARTS))

# Names of a part, the surest first; a later part does not take a bone that an earlier row has. Rows stand in the
# order in which they are asked, because "leg" is the shank beside an "UpLeg" and the thigh beside a "knee".
_ALIASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lower_arm", ("lowerarm", "forearm", "forearmbend", "lowarm", "elbow", "ひじ", "肘")),
    ("upper_arm", ("upperarm", "uparm", "shldrbend", "shldr", "arm", "shoulder", "腕")),
    ("hand", ("wrist", "hand", "手首")),
    ("lower_leg", ("lowerleg", "lowleg", "calf", "shin", "shank", "knee", "leg", "ひざ", "膝")),
    ("upper_leg", ("upperleg", "upleg", "thigh", "thighbend", "hip", "leg", "足")),
    ("foot", ("ankle", "foot", "足首")),
    ("toes", ("toebase", "toes", "toe", "ball", "foot", "つま先", "つまさき", "足先ex")),
    ("head", ("head", "頭")),
)
_PREFIXES = re.compile(
    r"^(mixamorig\d*|character\d*|armature|skeleton|bip\d*|valvebiped|ccbase|cc base|j bip|j|def|org|mch|bone|jnt|b)\s+"
)
_SIDE_WORDS = {"left": "left", "l": "left", "right": "right", "r": "right"}
MAX_MAP_BYTES = 1 << 14


def found_roles(names: Sequence[str], parents: Sequence[int]) -> dict[str, int]:
    """Role -> bone of a rig, by its names; of several bones with one name the nearest to the root.

    `parents` has a parent before its child. What is not found is not in the answer.
    """
    depth = [0] * len(names)
    for i, p in enumerate(parents):
        depth[i] = depth[p] + 1 if p >= 0 else 0
    places: dict[tuple[str, str], int] = {}
    for i in sorted(range(len(names)), key=lambda i: (depth[i], _number(names[i]), i)):
        places.setdefault(_read(names[i]), i)
    roles: dict[str, int] = {}
    for part, aliases in _ALIASES:
        sides = ("",) if part == "head" else SIDES
        for alias in aliases:
            # One name for both sides: beside a "LeftArm" the "RightShoulder" is a clavicle.
            bones = {f"{side}_{part}".lstrip("_"): places[side, alias] for side in sides if (side, alias) in places}
            if bones and not set(bones.values()) & set(roles.values()):
                roles |= bones
                break
    return roles


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name.rpartition(":")[2])
    return int(digits[-1][:6]) if digits else 0


def _read(name: str) -> tuple[str, str]:
    """("left" | "right" | "", the rest in lower case without separators and numbers)."""
    name = unicodedata.normalize("NFKC", name[:200]).rpartition(":")[2].rpartition("|")[2]
    side = ""
    for mark, word in (("左", "left"), ("右", "right")):
        if name.startswith(mark):
            side, name = word, name[1:]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    text = re.sub(r"[^\w]+|_", " ", name).lower().strip()
    while (shorter := _PREFIXES.sub("", text)) != text:
        text = shorter
    words = re.sub(r"\d+", " ", text).split()
    if len(words) > 1 and words[0] == "c":  # the middle, beside l and r
        words = words[1:]
    for at in (0, -1):
        if len(words) > 1 and not side and words[at] in _SIDE_WORDS:
            side = _SIDE_WORDS[words.pop(at)]
    joined = "".join(words)
    for word in SIDES:
        if not side and joined.startswith(word) and len(joined) > len(word):
            side, joined = word, joined[len(word) :]
    return side, joined


# VRM's humanoid bones (both versions; the toes' name is the same) by our roles.
VRM_BONES = {"head": "head"} | {
    f"{s}_{p}": s + "".join(w.capitalize() for w in p.split("_")) for s in SIDES for p in PARTS
}


def read_map(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Role -> bone, of a TOML or JSON file with lines such as `left_upper_leg = "Thigh_L"`.

    Raises `InputError` for a file that cannot be read, an unknown role, or a bone that the rig has not.
    """
    try:
        if path.stat().st_size > MAX_MAP_BYTES:
            raise InputError(f"{path}: too large for a map of bones")
        text = path.read_text("utf-8-sig")
        table = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply for a map of bones") from None
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: cannot be read as a map of bones ({str(e)[:120]})") from None
    if not isinstance(table, dict):
        raise InputError(f'{path}: expected lines such as left_upper_leg = "Thigh_L"')
    roles: dict[str, int] = {}
    for role, bone in table.items():
        if role not in ROLES:
            raise InputError(f"{path}: unknown part '{role[:40]}'; known: {', '.join(ROLES)}")
        if not isinstance(bone, str) or bone not in names:
            raise InputError(f"{path}: {role}: the rig has no bone '{str(bone)[:60]}'")
        roles[role] = names.index(bone)
    return roles


def check_roles(roles: dict[str, int], names: Sequence[str], parents: Sequence[int], where: str) -> None:
    """Raises `InputError` that says which bones were found and which are missing, or do not hang on each other."""
    missing = [r for r in NEEDED if r not in roles]
    if missing:
        found = ", ".join(f"{r} = {names[i]}" for r, i in roles.items()) or "none"
        raise InputError(
            f"{where}: no bone found for {', '.join(missing)}; found: {found[:400]}; name them in a file for --map; "
            f"the rig also has: {', '.join(n for i, n in enumerate(names) if i not in roles.values())[:600]}"
        )
    if len(set(roles.values())) < len(roles):
        raise InputError(f"{where}: one bone stands for two parts; correct it with --map")
    for side in SIDES:
        for chain in (PARTS[:3], PARTS[3:]):
            bones = [roles[f"{side}_{p}"] for p in chain if f"{side}_{p}" in roles]
            for near, far in pairwise(bones):
                if near not in ancestors(far, parents):
                    raise InputError(f"{where}: '{names[far]}' does not hang on '{names[near]}'; correct it with --map")


def ancestors(bone: int, parents: Sequence[int]) -> list[int]:
    """The bones above one, the nearest first."""
    out = []
    while (bone := int(parents[bone])) >= 0:
        out.append(bone)
    return out
