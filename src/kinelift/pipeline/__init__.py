"""`animate()`: the stages in order. Each takes records and returns new ones; nothing else travels between them."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from kinelift.camera import Camera
from kinelift.cleanup import Given, Settings, clean, knuckle_lines
from kinelift.lift import answer, load_lifter, mapped
from kinelift.pipeline.cameras import read_first, refined_lens, stated_camera, surroundings
from kinelift.pipeline.facts import facts_of, remarks, repair_facts, sources
from kinelift.pipeline.inputs import (
    Progress,
    grounded,
    has_pictures,
    key_points,
    one_shot,
    person_scale,
    read_given_edits,
    recut,
    size_stated,
    stature,
    stored_number,
)
from kinelift.pipeline.options import SAMPLE, SAMPLE_HEIGHT_M, Options, sample_path
from kinelift.records import Take
from kinelift.repair import Sight, repair, within_picture
from kinelift.repair.edits import Edits
from kinelift.report import quality
from kinelift.report.page import judged_report
from kinelift.report.series import Known
from kinelift.skeleton import BODY26

__all__ = ["SAMPLE", "SAMPLE_HEIGHT_M", "Options", "Progress", "animate", "has_pictures", "sample_path"]


def animate(path: str | Path, options: Options | None = None, progress: Progress | None = None, **changes: Any) -> Take:
    """Turn a video, a picture, key points or a `motion.npz` into a world-space animation.

    `changes` are fields of `Options`: `animate("walk.mp4", height_m=1.8)`. Raises `InputError` for input that cannot be
    used; everything that is merely odd becomes a line in `take.report["warnings"]`.
    """
    from threadpoolctl import threadpool_limits

    options = dataclasses.replace(options or Options(), **changes)
    tell = progress or (lambda stage, done, total: None)
    lifter = load_lifter(options.lifter, options.threads)
    options, network = read_first(options)
    began = time.perf_counter()
    detection, stored = key_points(path, options, tell)
    edits = read_given_edits(options, stored)
    if options.edits is not None:
        edits.check(detection.pose)
    pose, shot_warnings = one_shot(recut(detection, edits))
    camera, focal_source, calibrated = stated_camera(path, pose, detection, options, stored)
    seconds = {"detect": time.perf_counter() - began}
    began = time.perf_counter()
    seen = surroundings(path, pose, camera, calibrated, options, stored, network, tell)
    seconds["surroundings"] = time.perf_counter() - began
    with threadpool_limits(options.threads):
        began = time.perf_counter()
        tell("repair", 0, 1)
        visible, sight = within_picture(pose) if size_stated(path, options, stored) else (pose, Sight())
        mended, repairs = repair(visible)
        mended = edits.hidden(edits.swapped(mended))
        body = mapped(mended, BODY26)
        tell("lift", 0, 1)
        camera, focal_source, focal_sigma = refined_lens(
            lifter, body, camera, focal_source, seen, stored_number(stored, "focal_sigma")
        )
        lifted = answer(lifter, mapped(mended, lifter.skeleton), camera)
        tell("solve", 0, 1)
        stated = stature(path, options, stored, edits)
        known_m = stored_number(stored, "height_sigma_m")
        size = person_scale(stated, seen.depth, lifted, body, camera, focal_sigma, known_m)
        height, scale_source = size.height_m, size.source
        given = Given(seen.path, seen.depth, edits.contact(pose.times), edits.support_y(pose.times))
        settings = Settings(options.foot_lock, options.joint_limits, options.asymmetric, options.treadmill)
        result = clean(lifted, body, camera, height, calibrated, knuckle_lines(mended), given=given, settings=settings)
        result = grounded(result, edits, calibrated, visible.detected & mended.detected)
        tell("solve", 1, 1)
        seconds["after_detection"] = time.perf_counter() - began
    facts = facts_of(path, options, detection, lifter, result, stored)
    facts |= seen.facts | ({"edits": edits.as_dict()} if edits != Edits() else {})
    facts |= {"height_m": height, "scale_source": scale_source, "focal_source": focal_source}
    facts |= {"height_sigma_m": round(size.sigma_m, 4), "focal_sigma": round(focal_sigma, 4)}
    report = {
        **quality(result.motion, result.camera, body, lifted, Known(result.ground.floor_y, options.treadmill)),
        **repair_facts(repairs, sight),
        **sources(facts, result, lifted),
        "seconds_spent": {k: round(v, 3) for k, v in seconds.items()},
        "warnings": [*detection.warnings, *shot_warnings, *seen.warnings, *remarks(visible, sight, facts)],
    }
    tracked = None if seen.path is None else seen.path.moved(Camera.from_focal(camera.focal_px, camera.image_size))
    take = Take((result.motion,), result.camera, (pose,), facts, report, tracked)
    return take.replaced(report=judged_report(take))
