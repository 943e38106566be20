"""NumPy twins of the path kernels: the same functions in the same order, over whole blocks of paths.

Every operation is a float32 add, subtract, multiply, divide, square root or compare, an integer operation or a
table look-up, so that each path has the same bits in any block, on any thread and on any engine.
"""
