"""Scenes of tissue with every nucleus known, and prints of them: what networks that find nuclei are trained on.

A scene is drawn as concentrations of stains (`scene.draw_scene`); every time it is shown it is stained, scanned and
compressed anew (`printing`). Nothing in it is copied from a slide. Scenes and prints are functions of their random
numbers alone: the order in which these are drawn, and whether a number is a Python float or a numpy float64 (which
takes a field of float32 along), decide what the weights trained from them are. Both are kept on purpose.
"""
