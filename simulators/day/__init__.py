"""The scripted day: thirty hours of a district, over all scenarios, without a picture.

Cameras and aircraft are there in effigy: they publish the observations that vision would make of
what happens before them, with its noise, its misses and its clutter.
"""
