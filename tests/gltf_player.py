"""A small player of animated GLB files, apart from the package: where joints and skin are at a time."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

_TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Player:
    """One file; world metres as the file has them."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        (length,) = struct.unpack_from("<I", data, 12)
        self.json: dict[str, Any] = json.loads(data[20 : 20 + length])
        self.binary = data[28 + length :]
        self.nodes = self.json["nodes"]
        self.names = [n.get("name", "") for n in self.nodes]
        self.parents = [-1] * len(self.nodes)
        for i, node in enumerate(self.nodes):
            for child in node.get("children", []):
                self.parents[child] = i
        self.order = sorted(range(len(self.nodes)), key=self._depth)

    def _depth(self, i: int) -> int:
        return 0 if self.parents[i] < 0 else 1 + self._depth(self.parents[i])

    def array(self, accessor: int) -> np.ndarray:
        """An accessor's elements (N, C)."""
        a = self.json["accessors"][accessor]
        view = self.json["bufferViews"][a["bufferView"]]
        start = view.get("byteOffset", 0) + a.get("byteOffset", 0)
        width = _WIDTHS[a["type"]]
        kind = np.dtype(_TYPES[a["componentType"]])
        return np.frombuffer(self.binary, kind, a["count"] * width, start).reshape(-1, width)

    @property
    def key_times(self) -> np.ndarray:
        """(K,) seconds of the animation's keys."""
        return self.array(self.json["animations"][-1]["samplers"][0]["input"])[:, 0].astype(float)

    def matrices(self, times: np.ndarray | None = None) -> np.ndarray:
        """World matrices (T, N, 4, 4) of all nodes during the last animation; without `times` at rest (T = 1)."""
        t = 1 if times is None else len(times)
        parts = {
            name: np.tile([n.get(name, default) for n in self.nodes], (t, 1, 1)).astype(float)
            for name, default in (("translation", [0, 0, 0]), ("rotation", [0, 0, 0, 1]), ("scale", [1, 1, 1]))
        }
        if times is not None:
            self._animate(parts, times)
        local = np.zeros((t, len(self.nodes), 4, 4))
        turns = Rotation.from_quat(parts["rotation"].reshape(-1, 4)).as_matrix().reshape(t, -1, 3, 3)
        local[..., :3, :3] = turns * parts["scale"][..., None, :]
        local[..., :3, 3], local[..., 3, 3] = parts["translation"], 1
        for i in self.order:
            if self.parents[i] >= 0:
                local[:, i] = local[:, self.parents[i]] @ local[:, i]
        return local

    def _animate(self, parts: dict[str, np.ndarray], times: np.ndarray) -> None:
        animation = self.json["animations"][-1]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            keys, values = self.array(sampler["input"])[:, 0].astype(float), self.array(sampler["output"]).astype(float)
            at, path = np.clip(times, keys[0], keys[-1]), channel["target"]["path"]
            assert sampler.get("interpolation", "LINEAR") == "LINEAR"
            if path == "rotation" and len(keys) > 1:
                found = Slerp(keys, Rotation.from_quat(values))(at).as_quat()
            else:
                found = np.stack([np.interp(at, keys, v) for v in values.T], -1)
            parts[path][:, channel["target"]["node"]] = found

    def skin(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (V, 3), nodes (V, 4) and weights (V, 4) of the first skinned mesh."""
        node = next(n for n in self.nodes if "skin" in n)
        joints = np.array(self.json["skins"][node["skin"]]["joints"])
        found = [p["attributes"] for p in self.json["meshes"][node["mesh"]]["primitives"]]
        points, bound, weights = (
            np.concatenate([self.array(a[key]) for a in found]) for key in ("POSITION", "JOINTS_0", "WEIGHTS_0")
        )
        return points.astype(float), joints[bound.astype(int)], weights.astype(float)

    def skinned(self, matrices: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Points (T, V, 3) of the skin, those `chosen`, with nodes at `matrices` (T, N, 4, 4)."""
        (skin,) = self.json["skins"]
        inverse = np.tile(np.eye(4), (len(self.nodes), 1, 1))
        inverse[skin["joints"]] = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        points, nodes, weights = (x[chosen] for x in self.skin())
        moved = matrices @ inverse
        out = np.zeros((len(matrices), len(points), 3))
        for k in range(4):
            m = moved[:, nodes[:, k]]
            out += weights[None, :, k, None] * (np.einsum("tvij,vj->tvi", m[..., :3, :3], points) + m[..., :3, 3])
        return out
