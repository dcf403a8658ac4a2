"""Published parameters under our names: one module a family, pure functions on dicts of arrays, without torch.

A converter takes what the published file holds, as {its key: array}, and gives {our key: array}. Arrays are numpy's or
torch's and stay what they are. Each knows every key and shape of its network: a key too many, one missing or one of
another shape is an error that names it, so that a wrong file is never half loaded.
"""
