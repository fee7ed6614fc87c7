"""Fiducial frames of Visium slides: printed dots around the array that say where every spot is in a picture.

array       where dots and spots lie, in um
detector    corner shapes found in a picture
fit         frame laid onto a picture: from corners to single dots, measured or refused
"""
