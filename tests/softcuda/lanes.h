/* Instructions that map lanes to lanes: loops over them, and the choice of a loop by the operands' type. */
#ifndef SOFTCUDA_LANES_H
#define SOFTCUDA_LANES_H

#include "tests/softcuda/warp.h"

#include <type_traits>

namespace softcuda
{

template <class D, class F> void write(Warp &w, const Instruction &in, F value)
{
    D *d = w.lanes<D>(in.slots[0]);
    if (w.mask == ~0u) {
#pragma GCC ivdep
        for (int l = 0; l < LANES; l++)
            d[l] = value(l);
        return;
    }
    for_active(w, [&](int l) { d[l] = value(l); });
}

template <class Op, class D, class A> void unary(Warp &w, const Instruction &in)
{
    const A *a = w.lanes<A>(in.slots[1]);
    write<D>(w, in, [=](int l) { return D(Op::of(a[l])); });
}
template <class Op, class D, class A, class B> void binary(Warp &w, const Instruction &in)
{
    const A *a = w.lanes<A>(in.slots[1]);
    const B *b = w.lanes<B>(in.slots[2]);
    write<D>(w, in, [=](int l) { return D(Op::of(a[l], b[l])); });
}
template <class Op, class D, class A, class B, class C> void ternary(Warp &w, const Instruction &in)
{
    const A *a = w.lanes<A>(in.slots[1]);
    const B *b = w.lanes<B>(in.slots[2]);
    const C *c = w.lanes<C>(in.slots[3]);
    write<D>(w, in, [=](int l) { return D(Op::of(a[l], b[l], c[l])); });
}

template <class T> constexpr bool is_float = std::is_floating_point<T>::value;

template <class T> struct Wider;
template <> struct Wider<int16_t> {
    using type = int32_t;
};
template <> struct Wider<uint16_t> {
    using type = uint32_t;
};
template <> struct Wider<int32_t> {
    using type = int64_t;
};
template <> struct Wider<uint32_t> {
    using type = uint64_t;
};
template <> struct Wider<int64_t> {
    using type = __int128;
};
template <> struct Wider<uint64_t> {
    using type = unsigned __int128;
};

template <template <class> class Make, class... T> Run pick(Type type)
{
    Run found = nullptr;
    auto consider = [&](auto zero) {
        using X = decltype(zero);
        Kind kind = is_float<X> ? Kind::F : std::is_signed<X>::value ? Kind::S : Kind::U;
        bool same = type.kind == kind || (type.kind == Kind::B && kind == Kind::U);
        if (same && type.bits == 8 * sizeof(X))
            found = Make<X>::run;
    };
    (consider(T()), ...);
    return found;
}
template <class Op> struct Of {
    template <class T> struct One {
        static constexpr Run run = unary<Op, T, T>;
    };
    template <class T> struct Count {
        static constexpr Run run = unary<Op, uint32_t, T>;
    };
    template <class T> struct Two {
        static constexpr Run run = binary<Op, T, T, T>;
    };
    template <class T> struct Shift {
        static constexpr Run run = binary<Op, T, T, uint32_t>;
    };
    template <class T> struct Three {
        static constexpr Run run = ternary<Op, T, T, T, T>;
    };
    template <class T> struct WideTwo {
        static constexpr Run run = binary<Op, typename Wider<T>::type, T, T>;
    };
    template <class T> struct WideThree {
        static constexpr Run run = ternary<Op, typename Wider<T>::type, T, T, typename Wider<T>::type>;
    };
    template <class T> struct Choice {
        static constexpr Run run = ternary<Op, T, T, T, uint8_t>;
    };
    template <class T> struct Field {
        static constexpr Run run = ternary<Op, T, T, uint32_t, uint32_t>;
    };
};
#define INTEGERS uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t
#define WIDENING uint16_t, int16_t, uint32_t, int32_t
#define FLOATS   float, double

} // namespace softcuda
#endif
