"""Instructions on four floats at a time for compiled loops: the four channels of a texel, or four pixels.

Numba's own vectoriser turns loops over channels into slow gathers; these become one vector instruction each. Arrays are
1-D float32, places are indices of the first of four numbers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_VECTOR = ir.VectorType(ir.FloatType(), 4)
_FUSE = ("contract",)


def _element(context, builder, array_type, array, index):
    """Pointer to four floats of a 1-D float32 array from an index on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _splat(builder, value):
    lane = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), 4), [0, 0, 0, 0])
    return builder.shuffle_vector(lane, ir.Constant(_VECTOR, ir.Undefined), order)


def _multiply_add(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_FUSE), c, flags=_FUSE)


def _load(builder, pointer):
    return builder.load(pointer, align=4)


@intrinsic
def mix_texels(typingctx, texels, first, row, fx, fy, samples, place):
    """samples[place:+4] = bilinear mix of the texels at first, first + 4, first + row and first + row + 4."""

    def codegen(context, builder, signature, args):
        source, index, step, right, down, target, where = args
        four = ir.Constant(ir.IntType(64), 4)
        below = builder.add(index, step)
        a, b, c, d = (_load(builder, _element(context, builder, signature.args[0], source, i))
                      for i in (index, builder.add(index, four), below, builder.add(below, four)))
        right, down = _splat(builder, right), _splat(builder, down)
        upper = _multiply_add(builder, builder.fsub(b, a), right, a)
        lower = _multiply_add(builder, builder.fsub(d, c), right, c)
        mixed = _multiply_add(builder, builder.fsub(lower, upper), down, upper)
        builder.store(mixed, _element(context, builder, signature.args[5], target, where), align=4)
        return context.get_dummy_value()

    return types.void(texels, types.int64, types.int64, types.float32, types.float32, samples, types.int64), codegen


@intrinsic
def add_weighted(typingctx, total, place, samples, weight):
    """total[place:+4] += weight * samples[place:+4]."""

    def codegen(context, builder, signature, args):
        target = _element(context, builder, signature.args[0], args[0], args[1])
        sample = _load(builder, _element(context, builder, signature.args[2], args[2], args[1]))
        added = _multiply_add(builder, sample, _splat(builder, args[3]), _load(builder, target))
        builder.store(added, target, align=4)
        return context.get_dummy_value()

    return types.void(total, types.int64, samples, types.float32), codegen


@intrinsic
def scatter(typingctx, texels, first, row, shares, colour, place, amounts):
    """Adds (weight * colour[place:+3], density) to the four texels that `mix_texels` read, by their shares (fx, fy).

    amounts: (weight, density).
    """

    def codegen(context, builder, signature, args):
        target, index, step, shares, colours, where, amounts = args
        right, down = (builder.extract_value(shares, k) for k in (0, 1))
        weight, density = (builder.extract_value(amounts, k) for k in (0, 1))
        value = builder.fmul(_load(builder, _element(context, builder, signature.args[4], colours, where)),
                             _splat(builder, weight))
        value = builder.insert_element(value, density, ir.Constant(ir.IntType(32), 3))
        right = _splat(builder, right)
        lower = builder.fmul(value, _splat(builder, down))
        upper = builder.fsub(value, lower)
        four = ir.Constant(ir.IntType(64), 4)
        for part, start in ((upper, index), (lower, builder.add(index, step))):
            second = builder.fmul(part, right)
            for share, i in ((builder.fsub(part, second), start), (second, builder.add(start, four))):
                pointer = _element(context, builder, signature.args[0], target, i)
                builder.store(builder.fadd(_load(builder, pointer), share), pointer, align=4)
        return context.get_dummy_value()

    pair = types.UniTuple(types.float32, 2)
    return types.void(texels, types.int64, types.int64, pair, colour, types.int64, pair), codegen


@intrinsic
def dot_four(typingctx, samples, colour, place, out, x):
    """out[x:+4] += dot products of the four 4-vectors from samples[place] on with those of colour."""

    def codegen(context, builder, signature, args):
        samples, colours, place, out, x = args
        products = []
        for k in range(4):
            index = builder.add(place, ir.Constant(ir.IntType(64), 4 * k))
            products.append(builder.fmul(_load(builder, _element(context, builder, signature.args[0], samples, index)),
                                         _load(builder, _element(context, builder, signature.args[1], colours, index))))

        def pick(a, b, order):  # two sums of pairs at a time: a transposition on the way
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), 4), order))

        pairs = [builder.fadd(pick(products[k], products[k + 1], [0, 2, 4, 6]),
                              pick(products[k], products[k + 1], [1, 3, 5, 7])) for k in (0, 2)]
        dots = builder.fadd(pick(*pairs, [0, 2, 4, 6]), pick(*pairs, [1, 3, 5, 7]))
        pointer = _element(context, builder, signature.args[3], out, x)
        builder.store(builder.fadd(_load(builder, pointer), dots), pointer, align=4)
        return context.get_dummy_value()

    return types.void(samples, colour, types.int64, out, types.int64), codegen


@intrinsic
def as_float(typingctx, bits):
    """The float32 that an int32's bits are."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen
