"""The thresholds of plots and advice in one place, each with its reason."""

# A planted sole that moves by more in a frame at 30 fps is seen to slide (HuMoR's limit for static feet, 2021).
SLIDING_MM = 5.0
# Two per cent of 1.75 m are 3.5 cm: about what detectors' points miss joints by.
REPROJECTION_PERCENT = 2.0
# Twice that for a while: the result and the picture are not in the same pose.
LOST_PERCENT = 4.0
# Detectors' confidence of joints that they see well is 0.8 and more, of hidden ones 0.3 and less.
CONFIDENT, HIDDEN = 0.5, 0.3
# Soles deeper or higher than this are seen to sink or to float.
SINK_MM, FLOAT_MM = 10.0, 20.0
# Seconds: shorter stretches are not worth a line; a slip is seen sooner.
LEAST_S, SLIP_S = 0.2, 0.1
# Seconds a limb may be hidden before its motion is a guess: the lifter bridges joints unseen for 1.5 s.
HIDDEN_S = 1.0
# Shares of a clip, per cent: what is worth changing the camera for, and what makes a clip doubtful as a whole.
SOME_PERCENT, MUCH_PERCENT = 5.0, 25.0
# Pixels: a detector misses by 1 to 3 pixels at best, which on a smaller person is more than 2 cm.
SMALL_PX, TINY_PX = 250.0, 120.0
# Frames a second that walking needs: a swing takes 0.4 s, ten frames.
SLOW_FPS = 24.0
# Degrees: beyond, legs are foreshortened so much that a step is hard to see.
STEEP_DEG = 35.0
# Body heights between camera and person: nearer, a small error of depth changes the pose.
NEAR_HEIGHTS = 1.3
# 10 m/s^3: people in motion capture have 3 to 10, published methods 16 to 22.
JITTER = 25.0
# Seconds with a foot on the floor that the floor's height and level can be found from.
FLOOR_S = 0.5
# Metres a phone may be held at: outside, the floor or the scale was probably not found.
CAMERA_HEIGHTS_M = (0.05, 4.0)
# Centimetres of stated uncertainty: a joint is sure, fairly sure, unsure below these, a guess above.
SIGMA_CM = (3.0, 6.0, 12.0)
# Shares, per cent: what is less sure than this is worth a word. Stature is usually known to 1 %, a calibrated lens too.
HEIGHT_PERCENT, LENS_PERCENT = 3.0, 5.0
