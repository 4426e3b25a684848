"""One vector with a number for each block of a bundle, and what can be done with it.

Compiled, a vector of LANES floats is one LLVM value: `a + b` is an instruction or two, whatever
surrounds it, and stays in a register until it is stored. (The loops written on single numbers
before, for LLVM to vectorize, could share no sum between neighboring columns and took 2.5 times as
long.) Without a compiler it is a NumPy array of that length.

LLVM splits a vector that is longer than the registers of the processor: 16 floats are one of
AVX-512, two of AVX2, four of NEON.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

from nlmeans.engines.jit import JIT_DISABLED, inline, unroll

LANES = 16
"""Blocks in a bundle, one in each lane of a vector: 16 floats are 512 bits."""

# As the compiler's flags elsewhere but for reassociation: the terms that neighboring sums share
# are found only if additions stay in their order, and `exp2` rounds by adding.
_FLAGS = ("contract", "nsz", "arcp", "afn")

if JIT_DISABLED:

    def load(array: Any, at: Any) -> Any:
        """LANES elements of a flat array, from position `at`, a multiple of LANES."""
        return array[at : at + LANES].copy()

    def store(array: Any, at: Any, value: Any) -> None:
        """Set LANES elements of a flat array, from position `at`, a multiple of LANES."""
        array[at : at + LANES] = value

    def splat(value: Any) -> Any:
        """Return a vector of equal numbers."""
        return np.full(LANES, value)

    def widen(value: Any, like: Any) -> Any:
        """Convert a float32 vector to the type of another."""
        return value.astype(like.dtype)

    def narrow(value: Any) -> Any:
        """Convert a vector to float32."""
        return value.astype(np.float32)

    maximum = np.maximum

    def keep(value: Any, where: Any, least: Any) -> Any:
        """Value where another is at least `least`, else 0."""
        return np.where(where >= least, value, np.float32(0))

    def below(a: Any, b: Any) -> Any:
        """Int32 vector, 1 where an int32 vector is below another, else 0."""
        return (a < b).astype(np.int32)

    def inverse_root(value: Any) -> Any:
        """1 / sqrt(value) of a float32 vector."""
        return np.float32(1) / np.sqrt(value)

    def to_integers(value: Any) -> Any:
        """Convert float32 to int32, toward zero."""
        return value.astype(np.int32)

    def as_integers(value: Any) -> Any:
        """Bits of a float32 vector."""
        return value.view(np.int32)

    def as_floats(value: Any) -> Any:
        """Float32 vector of these bits."""
        return value.view(np.float32)

else:

    class Lanes(types.Type):
        """Numba's type of a vector."""

        def __init__(self, dtype: Any) -> None:
            self.dtype = dtype
            super().__init__(f"lanes({dtype})")

    @register_model(Lanes)
    class LanesModel(models.PrimitiveModel):
        """A vector is kept as LLVM's own."""

        def __init__(self, manager: Any, kind: Any) -> None:
            element = manager[kind.dtype].get_value_type()
            super().__init__(manager, kind, ir.VectorType(element, LANES))

    def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        vector = ir.VectorType(context.get_value_type(kind.dtype), LANES)
        return builder.bitcast(builder.gep(data, [at], inbounds=True), ir.PointerType(vector))

    _LINE = 64  # bytes; see layout.aligned

    @intrinsic
    def load(typingctx: Any, array: Any, at: Any) -> Any:
        """LANES elements of a flat array, from position `at`, a multiple of LANES."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_address(context, builder, array, *args), align=_LINE)

        return Lanes(array.dtype)(array, types.intp), codegen

    @intrinsic
    def store(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
        """Set LANES elements of a flat array, from position `at`, a multiple of LANES."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _address(context, builder, array, *args[:2]), align=_LINE)
            return context.get_dummy_value()

        return types.void(array, types.intp, value), codegen

    @intrinsic
    def splat(typingctx: Any, value: Any) -> Any:
        """Return a vector of equal numbers."""
        kind = Lanes(value)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = context.get_value_type(kind)
            empty = ir.Constant(vector, ir.Undefined)
            first = builder.insert_element(empty, args[0], ir.IntType(32)(0))
            every = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            return builder.shuffle_vector(first, empty, every)

        return kind(value), codegen

    @intrinsic
    def widen(typingctx: Any, value: Any, like: Any) -> Any:
        """Convert a float32 vector to the type of another."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0] if value == like else builder.fpext(args[0], args[1].type)

        return like(value, like), codegen

    @intrinsic
    def narrow(typingctx: Any, value: Any) -> Any:
        """Convert a vector to float32."""
        kind = Lanes(types.float32)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if value == kind:
                return args[0]
            return builder.fptrunc(args[0], context.get_value_type(kind))

        return kind(value), codegen

    @intrinsic
    def maximum(typingctx: Any, a: Any, b: Any) -> Any:
        """Return the larger of each two."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", *args), *args)

        return a(a, b), codegen

    @intrinsic
    def keep(typingctx: Any, value: Any, where: Any, least: Any) -> Any:
        """Value where another is at least `least`, else 0."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kept = builder.fcmp_ordered(">=", args[1], args[2])
            return builder.select(kept, args[0], ir.Constant(args[0].type, None))

        return value(value, where, least), codegen

    @intrinsic
    def below(typingctx: Any, a: Any, b: Any) -> Any:
        """Int32 vector, 1 where an int32 vector is below another, else 0."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.zext(builder.icmp_signed("<", *args), args[0].type)

        return a(a, b), codegen

    @intrinsic
    def inverse_root(typingctx: Any, value: Any) -> Any:
        """1 / sqrt(value) of a float32 vector."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(args[0].type, [args[0].type])
            root = builder.module.declare_intrinsic(f"llvm.sqrt.v{LANES}f32", (), kind)
            one = ir.Constant(args[0].type, [1.0] * LANES)
            return builder.fdiv(one, builder.call(root, args))

        return value(value), codegen

    def _conversion(kind: Any, instruction: str, text: str) -> Any:
        @intrinsic
        def convert(typingctx: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return getattr(builder, instruction)(args[0], context.get_value_type(kind))

            return kind(value), codegen

        convert.__doc__ = text
        return convert

    to_integers = _conversion(Lanes(types.int32), "fptosi", "Convert float32 to int32.")
    as_integers = _conversion(Lanes(types.int32), "bitcast", "Bits of a float32 vector.")
    as_floats = _conversion(Lanes(types.float32), "bitcast", "Float32 vector of these bits.")

    def _operator(symbol: Any, on_floats: str, on_integers: str) -> None:
        """Let Numba compile an operator on two vectors to an instruction."""

        @intrinsic
        def instruction(typingctx: Any, a: Any, b: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                if a.dtype == types.int32:
                    return getattr(builder, on_integers)(*args)
                return getattr(builder, on_floats)(*args, flags=_FLAGS)

            return a(a, b), codegen

        operate: Any = instruction

        @overload(symbol)
        def of_two(a, b):
            return (lambda a, b: operate(a, b)) if isinstance(a, Lanes) and a == b else None

    _operator(operator.add, "fadd", "add")
    _operator(operator.iadd, "fadd", "add")
    _operator(operator.sub, "fsub", "sub")
    _operator(operator.mul, "fmul", "mul")
    _operator(operator.and_, "", "and_")
    _operator(operator.or_, "", "or_")


def weigh(weight, value):
    """Weight * vector; compiled for a weight of type bool, True, just the vector.

    A function passed as an argument would do the same, but kernels that take one miss the disk
    cache: they are compiled again in every process.
    """
    return weight * value


@unroll(weigh)
def _weigh(weight, value):
    if isinstance(weight, types.Boolean):
        return lambda weight, value: value
    return lambda weight, value: splat(weight) * value


@inline
def relu(value):
    """max(value, 0) of a float32 vector."""
    return maximum(value, splat(np.float32(0.0)))


@inline
def exp2(exponent):
    """2**(exponent / 2**23) for float32 exponents <= 0, to a relative 2e-7; 1 at 0.

    From -125 * 2**23 down it is 2**-125. As an integer, such an exponent has its whole part where a
    float has its own, and its fraction where that has its digits: 2**f of the fraction is a
    polynomial of degree 5 with the least relative error, and the whole part is added to its bits.
    """
    bits = to_integers(maximum(exponent, splat(np.float32(-125.0 * 2**23))))
    digits, one = splat(np.int32(0x007FFFFF)), splat(np.float32(1.0))
    f = as_floats((bits & digits) | as_integers(one)) - one
    series = splat(np.float32(0.00186713))
    series = series * f + splat(np.float32(0.00901703))
    series = series * f + splat(np.float32(0.05579991))
    series = series * f + splat(np.float32(0.24016445))
    series = series * f + splat(np.float32(0.69315131))
    series = series * f + one
    return as_floats(as_integers(series) + (bits & splat(np.int32(-0x00800000))))
