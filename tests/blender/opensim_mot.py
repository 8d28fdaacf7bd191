"""Play a MOT in OpenSim on a model with Rajagopal's joints and given bones, and print where they go, as JSON.

    python opensim_mot.py BONES.json MOTION.mot FRAME...

BONES: {body: [x, y, z]} metres in OpenSim's axes, each joint in its parent at the model's zero pose. The joints' axes
and orders are those of Rajagopal2016.osim, with knee, ankle and elbow about Z.
"""

import json
import sys
from pathlib import Path

import opensim as osim

osim.Logger.setLevelString("Off")
X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)


def minus(v):
    return tuple(-x for x in v)


def joints():
    """(joint, parent, body, [(coordinate, axis)])."""
    yield "ground_pelvis", "ground", "pelvis", [("pelvis_tilt", Z), ("pelvis_list", X), ("pelvis_rotation", Y)]
    lumbar = [("lumbar_extension", Z), ("lumbar_bending", X), ("lumbar_rotation", Y)]
    yield "back", "pelvis", "torso", lumbar
    for s, x, y in (("r", X, Y), ("l", minus(X), minus(Y))):
        yield f"hip_{s}", "pelvis", f"femur_{s}", [(f"hip_flexion_{s}", Z), (f"hip_adduction_{s}", x), (f"hip_rotation_{s}", y)]  # fmt: skip # noqa: E501
        yield f"knee_{s}", f"femur_{s}", f"tibia_{s}", [(f"knee_angle_{s}", minus(Z))]
        yield f"ankle_{s}", f"tibia_{s}", f"talus_{s}", [(f"ankle_angle_{s}", Z)]
        yield f"toe_{s}", f"talus_{s}", f"toe_{s}", []
        arm = [(f"arm_flex_{s}", Z), (f"arm_add_{s}", x), (f"arm_rot_{s}", y)]
        yield f"acromial_{s}", "torso", f"humerus_{s}", arm
        yield f"elbow_{s}", f"humerus_{s}", f"ulna_{s}", [(f"elbow_flex_{s}", Z)]
        yield f"radioulnar_{s}", f"ulna_{s}", f"radius_{s}", [(f"pro_sup_{s}", y)]
        yield f"wrist_{s}", f"radius_{s}", f"hand_{s}", []


def build(bones):
    model = osim.Model()
    bodies = {"ground": model.getGround()}
    zero = osim.Vec3(0)
    for name, parent, body, turns in joints():
        bodies[body] = osim.Body(body, 1.0, zero, osim.Inertia(1, 1, 1))
        model.addBody(bodies[body])
        place = (bodies[parent], osim.Vec3(*bones[body]), zero, bodies[body], zero, zero)
        if not turns:
            model.addJoint(osim.WeldJoint(name, *place))
            continue
        transform = osim.SpatialTransform()
        axes = [transform.get_rotation1(), transform.get_rotation2(), transform.get_rotation3()]
        rest = [a for a in (X, Y, Z) if a not in [tuple(abs(c) for c in axis) for _, axis in turns]]
        for i, axis in enumerate(axes):
            if i < len(turns):
                axis.setCoordinateNames(osim.ArrayStr(turns[i][0], 1))
                axis.setAxis(osim.Vec3(*turns[i][1]))
                axis.set_function(osim.LinearFunction(1, 0))
            else:
                axis.setAxis(osim.Vec3(*rest[i - len(turns)]))
                axis.set_function(osim.Constant(0))
        moves = [transform.get_translation1(), transform.get_translation2(), transform.get_translation3()]
        for axis, letter, unit in zip(moves, "xyz", (X, Y, Z), strict=True):
            axis.setAxis(osim.Vec3(*unit))
            if body == "pelvis":
                axis.setCoordinateNames(osim.ArrayStr(f"pelvis_t{letter}", 1))
                axis.set_function(osim.LinearFunction(1, 0))
            else:
                axis.set_function(osim.Constant(0))
        model.addJoint(osim.CustomJoint(name, *place, transform))
    return model, bodies


def main():
    bones, motion, *frames = sys.argv[1:]
    model, bodies = build(json.loads(Path(bones).read_text()))
    state = model.initSystem()
    table = osim.TimeSeriesTable(motion)
    said = {"degrees": table.getTableMetaDataString("inDegrees"), "times": list(table.getIndependentColumn())}
    names = list(table.getColumnLabels())
    matrix = table.getMatrix()
    values = matrix.to_numpy()
    said["columns"] = {name: values[:, i].tolist() for i, name in enumerate(names)}
    model.getSimbodyEngine().convertDegreesToRadians(table)
    matrix = table.getMatrix()
    radians = matrix.to_numpy()
    coordinates = model.getCoordinateSet()
    said["unknown"] = [n for n in names if coordinates.getIndex(n) < 0]
    said["places"] = []
    for frame in map(int, frames):
        for i, name in enumerate(names):
            coordinates.get(name).setValue(state, radians[frame, i], False)
        model.realizePosition(state)
        points = {name: body.getPositionInGround(state) for name, body in bodies.items() if name != "ground"}
        said["places"].append({name: [p.get(k) for k in range(3)] for name, p in points.items()})
    print(json.dumps(said))


if __name__ == "__main__":
    main()
