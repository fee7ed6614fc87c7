"""What a Visium spot is as printed; without arrays, for those who only compare numbers."""

SPOT_DIAMETER_UM = 55.0
SPOT_DISTANCE_UM = 100.0  # of neighbouring spots
