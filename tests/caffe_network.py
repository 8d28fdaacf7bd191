"""A small real Caffe network in OpenPose's shape: each part's heat map answers to one colour.

The weights file is written in protobuf's wire format by hand (field numbers from Caffe's public `caffe.proto`), so that
OpenCV's own reader is what the tests go through.
"""

import struct

import numpy as np

LAYER, NAME, TYPE, BLOBS = 100, 1, 2, 7  # NetParameter.layer; LayerParameter.name, type, blobs
BLOB_DATA, BLOB_SHAPE, SHAPE_DIM = 5, 7, 1
COUNTS = {"coco": (18, 38), "mpi": (15, 28)}  # heat maps without the background, vector fields
LEVEL = 0.9  # length of each colour, of blue, green and red in 0..1


def colours(count):
    """(count, 3) directions spread over the octant of colours, as blue, green, red in 0..1, all of one length."""
    best = np.random.default_rng(1).uniform(0.02, 1, (4000, 3))
    best /= np.linalg.norm(best, axis=1, keepdims=True)
    chosen = [0]
    while len(chosen) < count:  # the direction farthest from those chosen
        chosen.append(int((best @ best[chosen].T).max(1).argmin()))
    return LEVEL * best[chosen]


def write_network(folder, parts="coco", fields=None):
    """(proto, model): 1 x 1 convolutions to heat maps and vector fields, ReLU, the highest of 8 x 8, concatenated.

    A map's value is 1 where its 8 x 8 pixels hold its colour, and at most 0.6 for any other part's colour.
    """
    count, others = COUNTS[parts]
    others = others if fields is None else fields
    target = colours(count)
    near = (target @ target.T - 10 * np.eye(count)).max(1)
    slope = 0.4 / (LEVEL**2 - near)
    weights = np.concatenate([target * slope[:, None], np.zeros((1, 3))])
    bias = np.append(1 - slope * LEVEL**2, 0.0)
    proto, model = folder / f"{parts}.prototxt", folder / f"{parts}.caffemodel"
    proto.write_text(_prototxt(count + 1, others))
    layers = [
        _layer("conv_L2", weights[:, :, None, None], bias),
        _layer("conv_L1", np.full((others, 3, 1, 1), 5.0), np.zeros(others)),
    ]
    model.write_bytes(b"".join(_message(LAYER, layer) for layer in layers))
    return proto, model


def spotted(points, size, radius=7.0):
    """An RGB picture of (width, height): a disc of each part's colour at points (J, 2), none where a point is NaN."""
    picture = np.zeros((size[1], size[0], 3))
    reach = int(radius) + 2
    for (px, py), colour in zip(points, colours(len(points)), strict=True):
        if np.isfinite(px):
            top, left = max(0, round(py) - reach), max(0, round(px) - reach)
            y, x = np.mgrid[top : round(py) + reach, left : round(px) + reach]
            part = picture[top : round(py) + reach, left : round(px) + reach]
            part[(np.hypot(x - px, y - py) < radius)[: part.shape[0], : part.shape[1]]] = colour[::-1]
    return (255 * picture).round().astype(np.uint8)


def _prototxt(heat_maps, fields):
    def layer(name, kind, bottoms, rest, top=None):
        tops = f'top: "{top or name}"'
        return f'layer {{ name: "{name}" type: "{kind}" {" ".join(f"{b}" for b in bottoms)} {tops} {rest} }}\n'

    out = 'name: "small"\ninput: "image"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 1\ninput_dim: 1\n'
    for branch, count in (("L1", fields), ("L2", heat_maps)):
        shape = f"convolution_param {{ num_output: {count} kernel_size: 1 }}"
        out += layer(f"conv_{branch}", "Convolution", ['bottom: "image"'], shape)
        out += layer(f"relu_{branch}", "ReLU", [f'bottom: "conv_{branch}"'], "", f"conv_{branch}")
        pool = "pooling_param { pool: MAX kernel_size: 8 stride: 8 }"
        out += layer(f"pool_{branch}", "Pooling", [f'bottom: "conv_{branch}"'], pool)
    both = ['bottom: "pool_L2"', 'bottom: "pool_L1"']
    return out + layer("concat_stage7", "Concat", both, "concat_param { axis: 1 }", "net_output")


def _varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def _message(field, content):
    """A length-delimited field (wire type 2)."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _blob(array):
    dims = b"".join(_varint(n) for n in array.shape)
    data = struct.pack(f"<{array.size}f", *array.ravel())
    return _message(BLOB_DATA, data) + _message(BLOB_SHAPE, _message(SHAPE_DIM, dims))


def _layer(name, *arrays):
    blobs = b"".join(_message(BLOBS, _blob(np.asarray(a))) for a in arrays)
    return _message(NAME, name.encode()) + _message(TYPE, b"Convolution") + blobs
