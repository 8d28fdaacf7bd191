"""OpenPose's body networks as Caffe files, run by OpenCV: the seed's own detector, one person in a picture.

Each part's point is the highest place of its heat map, so two people in one picture mix: crop, or take another
detector. The files are the user's (`docs/demo.md` says whence); OpenCV reads Caffe up to version 4.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinelift.detect.base import Candidate, sha256
from kinelift.detect.quiet import quiet_stderr
from kinelift.errors import InputError, MissingExtraError, UnknownNameError
from kinelift.records import Frame
from kinelift.skeleton import OPENPOSE_COCO18, OPENPOSE_MPI15, Skeleton

_STRIDE = 8  # input pixels in one cell of a heat map: three poolings by 2
_TRIAL_S = 60
_PROBE = 32  # side of the picture that tests the files: the network takes any size


@dataclass(frozen=True)
class Parts:
    """What a network's output holds: heat maps of the skeleton's points, one of the background, then vector fields."""

    skeleton: Skeleton
    channels: int


PARTS = {
    "coco": Parts(OPENPOSE_COCO18, 57),  # 18 + 1 + 2 x 19
    "mpi": Parts(OPENPOSE_MPI15, 44),  # 15 + 1 + 2 x 14
}


class OpenPoseDetector:
    """OpenPose through OpenCV's DNN.

    Args:
        proto: The network's description, `.prototxt`.
        model: Its weights, `.caffemodel`.
        parts: "coco" (18 points) or "mpi" (15).
        threshold: Height of a heat map's peak from which its part counts as seen.
        width: The network's input, pixels; the whole picture is scaled to it.
        height: Likewise. The same shape as the picture (656 x 368 for 16:9) leaves people undistorted.

    Raises `InputError` for files that are missing or are no such network, `MissingExtraError` for OpenCV 5.
    """

    name = "openpose"

    def __init__(
        self,
        proto: str | Path | None = None,
        model: str | Path | None = None,
        parts: str = "coco",
        threshold: float = 0.1,
        width: int = 368,
        height: int = 368,
    ) -> None:
        if proto is None or model is None:
            raise InputError(
                "detector openpose needs two files: --proto2d FILE.prototxt and --model2d FILE.caffemodel "
                "(docs/demo.md says where they come from)"
            )
        if parts.lower() not in PARTS:
            raise UnknownNameError("OpenPose parts", parts, PARTS)
        if not 0 <= threshold < 1:
            raise InputError(f"openpose: threshold {threshold:g}: expected at least 0 and less than 1, such as 0.1")
        for option, value in (("width", width), ("height", height)):
            if value < _STRIDE or value % _STRIDE:
                raise InputError(f"openpose: {option} {value}: expected a multiple of {_STRIDE}, such as 368")
        self._parts = PARTS[parts.lower()]
        self.skeleton = self._parts.skeleton
        self._threshold = threshold
        self._size = (width, height)
        self._proto, self._model = Path(proto), Path(model)
        self._network = _read(self._proto, self._model)
        self._check(parts.lower())

    def detect(self, frames: Iterable[Frame]) -> Iterator[list[Candidate]]:
        """At most one person per frame; see `Detector.detect`."""
        for frame in frames:
            candidate = self._person(frame.image)
            yield [candidate] if candidate.confidence.any() else []

    def provenance(self) -> dict[str, Any]:
        """OpenCV's version and the files' hashes."""
        import cv2

        return {
            "detector": self.name,
            "opencv": cv2.__version__,
            "layout": self.skeleton.name,
            "input_size": list(self._size),
            "network": self._proto.name,
            "network_sha256": sha256(self._proto),
            "weights": self._model.name,
            "weights_sha256": sha256(self._model),
        }

    def _person(self, image: np.ndarray) -> Candidate:
        """Key points of an RGB picture, in its pixels."""
        maps = self._maps(image, self._size)[: len(self.skeleton)]
        peak = maps.reshape(len(maps), -1).max(1).astype(float)
        seen = peak > self._threshold
        # A cell's centre in the input, which is the whole picture scaled.
        share = (_peaks(maps) + 0.5) * _STRIDE / np.array(self._size)
        xy = share * np.array(image.shape[1::-1]) - 0.5
        return Candidate(np.where(seen[:, None], xy, np.nan), np.where(seen, np.clip(peak, 0, 1), 0.0))

    def _maps(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(channels, rows, columns) for an RGB picture scaled to `size` (width, height)."""
        import cv2

        # The network was trained on OpenCV's own order, blue first.
        blob = cv2.dnn.blobFromImage(image, 1 / 255, size, (0, 0, 0), swapRB=True, crop=False)
        try:
            with quiet_stderr():
                self._network.setInput(blob)
                maps = self._network.forward()
        except cv2.error as e:
            raise InputError(
                f"{self._model}: does not fit {self._proto.name}, or is cut off ({_reason(e)}); fetch both again"
            ) from None
        if maps.ndim != 4 or not np.isfinite(maps).all():
            raise InputError(f"{self._model}: gives no finite heat maps; fetch it again")
        return maps[0]

    def _check(self, parts: str) -> None:
        """Run once on a small black picture: the weights are there, and the output is what `parts` says."""
        got = self._maps(np.zeros((_PROBE, _PROBE, 3), np.uint8), (_PROBE, _PROBE)).shape
        side = _PROBE // _STRIDE
        if got == (self._parts.channels, side, side):
            return
        others = [name for name, p in PARTS.items() if p.channels == got[0]]
        hint = f"; those are {others[0]}'s: --parts {others[0]}" if others else ""
        raise InputError(
            f"{self._proto}: gives {got[0]} maps of 1/{_PROBE / max(got[1], 1):g} of the input's size, "
            f"parts {parts} has {self._parts.channels} of 1/{_STRIDE}{hint}"
        )


def _read(proto: Path, model: Path) -> Any:
    """The network; raises `InputError` where a file cannot be read, `MissingExtraError` where OpenCV cannot."""
    import cv2

    for path, what, most in ((proto, "the network's .prototxt", 300_000), (model, "its .caffemodel", 10**9)):
        if not path.is_file():
            raise InputError(f"{path}: no such file (expected {what}; docs/demo.md says where it comes from)")
        if (
            path.stat().st_size > most
        ):  # OpenPose's own have 50 kB and 209 MB; reading takes time with the layers' square
            raise InputError(f"{path}: too large for {what} (over {most / 1e6:g} MB)")
        if path.stat().st_size < 200 and path.read_bytes().startswith(b"version https://git-lfs"):
            raise InputError(f"{path}: is only a git-lfs pointer; fetch the file itself")
    reader = getattr(cv2.dnn, "readNetFromCaffe", None)
    if reader is None or int(cv2.__version__.split(".")[0]) >= 5:
        raise MissingExtraError(
            f"detector openpose (OpenCV {cv2.__version__} no longer reads Caffe)",
            "pip install 'opencv-python-headless<5'",
        )
    _check_in_a_child(proto, model)
    try:
        with quiet_stderr():
            return reader(str(proto), str(model))
    except cv2.error as e:
        guilty = proto if "TextFile" in str(e) or proto.name in str(e) else model
        raise InputError(f"{guilty}: cannot be read as a Caffe network ({_reason(e)}); fetch it again") from None


_TRIAL = """
import sys, cv2, numpy
network = cv2.dnn.readNetFromCaffe(*sys.argv[1:3])
network.setInput(numpy.zeros((1, 3, int(sys.argv[3]), int(sys.argv[3])), numpy.float32))
network.forward()
"""


def _check_in_a_child(proto: Path, model: Path) -> None:
    """Read and run the network once in another process: a few wrong bytes can crash OpenCV. Raises `InputError`."""
    command = [sys.executable, "-c", _TRIAL, str(proto), str(model), str(_PROBE)]
    try:
        code = subprocess.run(command, capture_output=True, timeout=_TRIAL_S).returncode
    except subprocess.TimeoutExpired:
        raise InputError(f"{model}: takes OpenCV more than {_TRIAL_S} s to read; fetch it again") from None
    if code < 0:  # a signal; what OpenCV refuses in words is told by reading it here
        raise InputError(f"{model}: damaged, as is {proto.name} or not (OpenCV crashes on them); fetch both again")


def _peaks(maps: np.ndarray) -> np.ndarray:
    """(J, 2) column and row of each map's (J, rows, columns) maximum, refined by parabolas through its neighbours."""
    count, columns = len(maps), maps.shape[2]
    row, column = np.divmod(maps.reshape(count, -1).argmax(1), columns)
    j = np.arange(count)
    x = column + _shift(maps[j, row], column)
    y = row + _shift(maps[j, :, column], row)
    return np.stack([x, y], -1)


def _shift(lines: np.ndarray, top: np.ndarray) -> np.ndarray:
    """(J,) in [-0.5, 0.5]: the parabola's peak past the sample `top` of each line (J, N); 0 at the ends."""
    n = lines.shape[1]
    if n < 3:
        return np.zeros(len(lines))
    inner = np.clip(top, 1, n - 2)
    j = np.arange(len(lines))
    left, middle, right = (lines[j, inner + d].astype(float) for d in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.minimum(bend, -1e-9), 0.0)
    return np.where(inner == top, np.clip(shift, -0.5, 0.5), 0.0)


def _reason(error: Exception) -> str:
    """OpenCV's own words without its path and line."""
    text = " ".join(str(error).split())
    return text.split("error: ")[-1][:120]
