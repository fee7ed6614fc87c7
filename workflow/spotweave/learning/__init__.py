"""What learned methods share: their settings, their pictures, what they learn, how long, and how they are kept.

`settings`   numbers of a preset, and what a row says otherwise
`scaling`    expression as a network learns it; constant genes are known without learning
`images`     patches of a sample as a network takes them
`symmetries` the eight ways to lay a square
`held_out`   training spots that choose the epoch, and no others
`epochs`     the loop: seeds, checkpoints, the best epoch
`normalised` a network with what its input is normalised by
`vectors`    a frozen encoder's vectors in the place of a trunk
`patchwise`  methods that see one patch at a time
`sectionwise` methods that see a section at a time
`array_places` where its spots are on the array
`guided`     methods that are shown known spots like the one they predict
`superpixelwise` a method that says of squares of a patch what its spots are means of
`coded`      a method whose pictures and genes are linear in one code
`ranges`     genes from 0 to 1
`fitted`     a trained network as a method, on disk and back
"""
