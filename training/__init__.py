"""What does that predict, and is it true?"""

import os

# LightGBM's threads spin while they wait; on a busy machine that made training ten times slower.
# Read once, when the OpenMP library is loaded: before the first import of lightgbm.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
