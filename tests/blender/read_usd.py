"""What Pixar's USD reads in a file, as JSON: python read_usd.py FILE CODE... (time codes).

The findings of all its validators, the stage's axes, unit and rate, each joint's place by UsdSkel's own query, and
where its own skinning puts the lowest and highest point of the body.
"""

import json
import sys

from pxr import Usd, UsdGeom, UsdSkel, UsdValidation

path, *codes = sys.argv[1:]
stage = Usd.Stage.Open(path)
root = UsdSkel.Root(stage.GetDefaultPrim())
skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath("/Person/Rig"))
cache = UsdSkel.Cache()
cache.Populate(root, Usd.PrimDefaultPredicate)
query = cache.GetSkelQuery(skeleton)
world = UsdGeom.XformCache()
said = {
    "up": str(UsdGeom.GetStageUpAxis(stage)),
    "metres": UsdGeom.GetStageMetersPerUnit(stage),
    "fps": stage.GetTimeCodesPerSecond(),
    "codes": [stage.GetStartTimeCode(), stage.GetEndTimeCode()],
    "joints": [str(joint).split("/")[-1] for joint in query.GetJointOrder()],
    "places": {},
    "heights": {},
}
validators = UsdValidation.ValidationContext(UsdValidation.ValidationRegistry().GetOrLoadAllValidators())
said["findings"] = [e.GetMessage() for e in validators.Validate(stage)]
bindings = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
for code in map(float, codes):
    time = Usd.TimeCode(code)
    world.SetTime(time)
    transforms = query.ComputeJointWorldTransforms(world)
    said["places"][str(int(code))] = [list(m.ExtractTranslation()) for m in transforms]
    heights = []
    skinning = query.ComputeSkinningTransforms(time)
    for binding in bindings:
        for target in binding.GetSkinningTargets():
            points = UsdGeom.Mesh(target.GetPrim()).GetPointsAttr().Get(time)
            if not target.ComputeSkinnedPoints(skinning, points, time):
                raise SystemExit("USD cannot skin the body")
            heights += [p[1] for p in points]
    said["heights"][str(int(code))] = [min(heights), max(heights)]
print(json.dumps(said))
