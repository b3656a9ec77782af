// Instructions that map lanes to lanes. To add one: a struct with of(), and a row in the table at the end.
#include "tests/softcuda/lanes.h"

#include <cmath>
#include <cstring>

namespace softcuda
{
namespace
{

template <class T> using Unsigned = std::make_unsigned_t<T>;
// Integers wrap: signed operands go through unsigned ones, 16-bit ones through 32 bits.
template <class T> struct WrapOf {
    using type = Unsigned<decltype(T() + 0)>;
};
template <> struct WrapOf<float> {
    using type = float;
};
template <> struct WrapOf<double> {
    using type = double;
};
template <class T> using Wrap = typename WrapOf<T>::type;

struct Add {
    template <class T> static T of(T a, T b) { return T(Wrap<T>(a) + Wrap<T>(b)); }
};
struct Sub {
    template <class T> static T of(T a, T b) { return T(Wrap<T>(a) - Wrap<T>(b)); }
};
struct Mul {
    template <class T> static T of(T a, T b) { return T(Wrap<T>(a) * Wrap<T>(b)); }
};
struct MulWide {
    template <class T> static auto of(T a, T b)
    {
        return typename Wider<T>::type(a) * typename Wider<T>::type(b);
    }
};
struct MulHigh {
    template <class T> static T of(T a, T b) { return T(MulWide::of(a, b) >> (8 * sizeof(T))); }
};
struct Mad {
    template <class T> static T of(T a, T b, T c) { return Add::of(Mul::of(a, b), c); }
};
struct MadHigh {
    template <class T> static T of(T a, T b, T c) { return Add::of(MulHigh::of(a, b), c); }
};
struct MadWide {
    template <class T, class W> static W of(T a, T b, W c) { return Add::of(W(MulWide::of(a, b)), c); }
};
struct Fma {
    template <class T> static T of(T a, T b, T c) { return std::fma(a, b, c); }
};
// Division by zero gives all ones, as the hardware's sequence does; the overflowing signed quotient wraps.
struct Div {
    template <class T> static T of(T a, T b)
    {
        if constexpr (is_float<T>)
            return a / b;
        else
            return b == 0 ? T(-1) : b == T(-1) && std::is_signed<T>::value ? T(0 - Wrap<T>(a)) : T(a / b);
    }
};
struct Rem {
    template <class T> static T of(T a, T b)
    {
        return b == 0 ? a : b == T(-1) && std::is_signed<T>::value ? T(0) : T(a % b);
    }
};
// A NaN loses against a number, and -0 is less than +0.
struct Min {
    template <class T> static T of(T a, T b)
    {
        if constexpr (is_float<T>)
            return a != a   ? (b != b ? T(NAN) : b)
                   : b != b ? a
                   : a == b ? (std::signbit(a) ? a : b)
                   : a < b  ? a
                            : b;
        else
            return a < b ? a : b;
    }
};
struct Max {
    template <class T> static T of(T a, T b)
    {
        if constexpr (is_float<T>)
            return a != a   ? (b != b ? T(NAN) : b)
                   : b != b ? a
                   : a == b ? (std::signbit(a) ? b : a)
                   : a > b  ? a
                            : b;
        else
            return a > b ? a : b;
    }
};
struct Abs {
    template <class T> static T of(T a)
    {
        if constexpr (is_float<T>)
            return std::fabs(a);
        else
            return a < 0 ? T(0 - Wrap<T>(a)) : a;
    }
};
struct Neg {
    template <class T> static T of(T a)
    {
        if constexpr (is_float<T>)
            return -a;
        else
            return T(0 - Wrap<T>(a));
    }
};
struct And {
    template <class T> static T of(T a, T b) { return a & b; }
};
struct Or {
    template <class T> static T of(T a, T b) { return a | b; }
};
struct Xor {
    template <class T> static T of(T a, T b) { return a ^ b; }
};
struct Not {
    template <class T> static T of(T a) { return T(~a); }
};
struct NotPredicate {
    static uint8_t of(uint8_t a) { return !a; }
};
struct Copy {
    template <class T> static T of(T a) { return a; }
};
// Shifts by the width or more give zero, or the sign.
struct Shl {
    template <class T> static T of(T a, uint32_t n) { return n >= 8 * sizeof(T) ? T(0) : T(a << n); }
};
struct Shr {
    template <class T> static T of(T a, uint32_t n)
    {
        uint32_t width = 8 * sizeof(T);
        return n < width ? T(a >> n) : std::is_signed<T>::value ? T(a >> (width - 1)) : T(0);
    }
};
struct Select {
    template <class T> static T of(T a, T b, uint8_t p) { return p ? a : b; }
};
struct Popc {
    template <class T> static uint32_t of(T a) { return uint32_t(__builtin_popcountll(a)); }
};
struct Clz {
    static uint32_t of(uint32_t a) { return a ? uint32_t(__builtin_clz(a)) : 32; }
    static uint32_t of(uint64_t a) { return a ? uint32_t(__builtin_clzll(a)) : 64; }
};
struct Brev {
    template <class T> static T of(T a)
    {
        T r = 0;
        for (unsigned i = 0; i < 8 * sizeof(T); i++)
            r |= T((a >> i & 1) << (8 * sizeof(T) - 1 - i));
        return r;
    }
};
struct Sqrt {
    template <class T> static T of(T a) { return std::sqrt(a); }
};
struct Rcp {
    template <class T> static T of(T a) { return T(1) / a; }
};

// Each byte of the result is one of the eight bytes of b:a; bit 3 of its selector spreads that byte's sign.
struct Prmt {
    static uint32_t of(uint32_t a, uint32_t b, uint32_t selectors)
    {
        uint64_t bytes = uint64_t(b) << 32 | a;
        uint32_t r = 0;
        for (int i = 0; i < 4; i++) {
            uint32_t s = selectors >> (4 * i), byte = uint32_t(bytes >> (8 * (s & 7))) & 255;
            r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
        }
        return r;
    }
};
template <bool LEFT, bool CLAMP> struct Funnel {
    static uint32_t of(uint32_t a, uint32_t b, uint32_t c)
    {
        uint64_t both = uint64_t(b) << 32 | a;
        uint32_t n = CLAMP ? (c < 32 ? c : 32) : c & 31;
        return LEFT ? uint32_t(both << n >> 32) : uint32_t(both >> n);
    }
};
struct Bfe {
    template <class T> static T of(T a, uint32_t position, uint32_t length)
    {
        int width = 8 * sizeof(T), p = int(position & 255), n = int(length & 255);
        if (n == 0)
            return 0;
        int top = p + n - 1 < width - 1 ? p + n - 1 : width - 1;
        T sign = std::is_signed<T>::value && (Unsigned<T>(a) >> top & 1) ? T(-1) : T(0), r = sign;
        for (int i = 0; i < n && i < width; i++) {
            Unsigned<T> bit = p + i < width ? Unsigned<T>(a) >> (p + i) & 1 : Unsigned<T>(sign) & 1;
            r = T((Unsigned<T>(r) & ~(Unsigned<T>(1) << i)) | bit << i);
        }
        return r;
    }
};

// dp4a.atype.btype: c + the sum of four products of bytes
template <class A, class B> struct Dp4a {
    static uint32_t of(uint32_t a, uint32_t b, uint32_t c)
    {
        for (int i = 0; i < 4; i++)
            c += uint32_t(int(A(a >> (8 * i))) * int(B(b >> (8 * i))));
        return c;
    }
};

void run_lop3(Warp &w, const Instruction &in)
{
    const uint32_t *a = w.lanes<uint32_t>(in.slots[1]), *b = w.lanes<uint32_t>(in.slots[2]),
                   *c = w.lanes<uint32_t>(in.slots[3]);
    const int table = in.mode;
    write<uint32_t>(w, in, [=](int l) {
        uint32_t r = 0;
        for (int i = 0; i < 8; i++)
            r |=
                table >> i & 1 ? (i & 4 ? a[l] : ~a[l]) & (i & 2 ? b[l] : ~b[l]) & (i & 1 ? c[l] : ~c[l]) : 0;
        return r;
    });
}

void run_bfi(Warp &w, const Instruction &in)
{
    for_active(w, [&](int l) {
        uint64_t a = w.get(in.args[1], l), b = w.get(in.args[2], l);
        unsigned p = unsigned(w.get(in.args[3], l)) & 255, n = unsigned(w.get(in.args[4], l)) & 255;
        for (unsigned i = 0; i < n && p + i < in.type.bits; i++)
            b = (b & ~(1ull << (p + i))) | (a >> i & 1) << (p + i);
        w.set(in.args[0], l, b);
    });
}

// mov between a register and a vector of its pieces
void run_pack(Warp &w, const Instruction &in)
{
    const Operand &d = in.args[0], &a = in.args[1];
    for_active(w, [&](int l) {
        uint64_t value = 0;
        unsigned at = 0;
        if (a.form == Form::VECTOR)
            for (const Operand &part : a.parts) {
                value |= w.get(part, l) << at;
                at += part.bits;
            }
        else
            value = w.get(a, l);
        if (d.form != Form::VECTOR)
            return w.set(d, l, value);
        unsigned piece = in.type.bits / unsigned(d.parts.size());
        for (size_t i = 0; i < d.parts.size(); i++)
            w.set(d.parts[i], l, value >> (piece * i));
    });
}

// ---- comparison: setp.cmp{.bool}.type p{|q}, a, b{, c}
enum Compare { EQ, NE, LT, LE, GT, GE, NUM, NANS, UNORDERED = 8 };
template <class T> bool compares(int how, T a, T b)
{
    bool unordered = a != a || b != b;
    if (unordered && (how & 7) < NUM)
        return how & UNORDERED;
    switch (how & 7) {
    case EQ:
        return a == b;
    case NE:
        return a != b;
    case LT:
        return a < b;
    case LE:
        return a <= b;
    case GT:
        return a > b;
    case GE:
        return a >= b;
    case NUM:
        return !unordered;
    default:
        return unordered;
    }
}
enum Combine { NONE, AND = 16, OR = 32, XOR = 48 };
template <class T> void run_setp(Warp &w, const Instruction &in)
{
    const T *a = w.lanes<T>(in.slots[1]), *b = w.lanes<T>(in.slots[2]);
    const uint8_t *c = in.mode & XOR ? w.lanes<uint8_t>(in.slots[3]) : nullptr;
    const Operand &d = in.args[0];
    auto combined = [&](bool r, int l) {
        int how = in.mode & XOR;
        return how == NONE ? r : how == AND ? r && c[l] : how == OR ? r || c[l] : r != bool(c[l]);
    };
    for_active(w, [&](int l) {
        bool r = compares<T>(in.mode & 15, a[l], b[l]);
        if (d.form != Form::VECTOR)
            return w.set(d, l, combined(r, l));
        bool both[] = {combined(r, l), combined(!r, l)};
        w.set(d.parts[0], l, both[0]);
        w.set(d.parts[1], l, both[1]);
    });
}

template <class T> struct Setp {
    static constexpr Run run = run_setp<T>;
};

template <class Op> void both(Instruction &in)
{
    accept(in, "rn");
    in.run = pick<Of<Op>::template Two, INTEGERS, FLOATS>(in.type);
}
template <class Op> void integers(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Op>::template Two, INTEGERS>(in.type);
}
template <class Op> void logic(Instruction &in)
{
    accept(in, "");
    in.run = in.type.kind == Kind::P ? binary<Op, uint8_t, uint8_t, uint8_t>
                                     : pick<Of<Op>::template Two, uint16_t, uint32_t, uint64_t>(in.type);
}
template <class Op> void sign(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Op>::template One, int16_t, int32_t, int64_t, FLOATS>(in.type);
}
template <class Op> void shift(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Op>::template Shift, INTEGERS>(in.type);
}
template <class Op> void counting(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Op>::template Count, uint32_t, uint64_t>(in.type);
}
template <class Op> void rounded(Instruction &in)
{
    if (has(in, "approx"))
        return decode_approximation(in);
    accept(in, "rn");
    in.run = pick<Of<Op>::template One, FLOATS>(in.type);
}
void decode_div(Instruction &in)
{
    if (has(in, "approx") || has(in, "full"))
        decode_approximation(in);
    else
        both<Div>(in);
}
void decode_mul(Instruction &in)
{
    accept(in, "rn lo hi wide");
    in.run = has(in, "wide") ? pick<Of<MulWide>::WideTwo, WIDENING>(in.type)
             : has(in, "hi") ? pick<Of<MulHigh>::Two, INTEGERS>(in.type)
                             : pick<Of<Mul>::Two, INTEGERS, FLOATS>(in.type);
}
void decode_mad(Instruction &in)
{
    accept(in, "lo hi wide");
    in.run = has(in, "wide") ? pick<Of<MadWide>::WideThree, WIDENING>(in.type)
             : has(in, "hi") ? pick<Of<MadHigh>::Three, INTEGERS>(in.type)
                             : pick<Of<Mad>::Three, INTEGERS>(in.type);
}
void decode_fma(Instruction &in)
{
    accept(in, "rn");
    in.run = pick<Of<Fma>::Three, FLOATS>(in.type);
}
void decode_not(Instruction &in)
{
    accept(in, "");
    in.run = in.type.kind == Kind::P ? unary<NotPredicate, uint8_t, uint8_t>
                                     : pick<Of<Not>::One, uint16_t, uint32_t, uint64_t>(in.type);
}
void decode_mov(Instruction &in)
{
    accept(in, "");
    if (in.args[0].form == Form::VECTOR || in.args[1].form == Form::VECTOR ||
        in.args[0].bits != in.args[1].bits)
        in.run = run_pack;
    else
        in.run = in.type.kind == Kind::P
                     ? unary<Copy, uint8_t, uint8_t>
                     : pick<Of<Copy>::One, uint16_t, uint32_t, uint64_t>({Kind::U, in.type.bits});
}
void decode_selp(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Select>::Choice, uint16_t, uint32_t, uint64_t>({Kind::U, in.type.bits});
}
void decode_brev(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Brev>::One, uint32_t, uint64_t>(in.type);
}
void decode_bfe(Instruction &in)
{
    accept(in, "");
    in.run = pick<Of<Bfe>::Field, uint32_t, int32_t, uint64_t, int64_t>(in.type);
}
void decode_bfi(Instruction &in)
{
    accept(in, "");
    in.run = run_bfi;
}
void decode_prmt(Instruction &in)
{
    accept(in, "");
    in.run = ternary<Prmt, uint32_t, uint32_t, uint32_t, uint32_t>;
}
void decode_shf(Instruction &in)
{
    accept(in, "l r wrap clamp");
    bool left = has(in, "l"), clamp = has(in, "clamp");
    in.run = left    ? clamp ? ternary<Funnel<true, true>, uint32_t, uint32_t, uint32_t, uint32_t>
                             : ternary<Funnel<true, false>, uint32_t, uint32_t, uint32_t, uint32_t>
                : clamp ? ternary<Funnel<false, true>, uint32_t, uint32_t, uint32_t, uint32_t>
                     : ternary<Funnel<false, false>, uint32_t, uint32_t, uint32_t, uint32_t>;
}
void decode_lop3(Instruction &in)
{
    accept(in, "");
    in.mode = int(strtoul(in.text.c_str() + in.text.rfind(',') + 1, nullptr, 0));
    in.run = run_lop3;
}
void decode_dp4a(Instruction &in)
{
    accept(in, "");
    bool a = in.words[1] == "s32", b = in.words[2] == "s32";
    in.run = a   ? b ? ternary<Dp4a<int8_t, int8_t>, uint32_t, uint32_t, uint32_t, uint32_t>
                     : ternary<Dp4a<int8_t, uint8_t>, uint32_t, uint32_t, uint32_t, uint32_t>
               : b ? ternary<Dp4a<uint8_t, int8_t>, uint32_t, uint32_t, uint32_t, uint32_t>
                 : ternary<Dp4a<uint8_t, uint8_t>, uint32_t, uint32_t, uint32_t, uint32_t>;
}
void decode_setp(Instruction &in)
{
    static const std::map<std::string, int> modes = {{"eq", EQ},
                                                     {"ne", NE},
                                                     {"lt", LT},
                                                     {"le", LE},
                                                     {"gt", GT},
                                                     {"ge", GE},
                                                     {"lo", LT},
                                                     {"ls", LE},
                                                     {"hi", GT},
                                                     {"hs", GE},
                                                     {"equ", EQ | UNORDERED},
                                                     {"neu", NE | UNORDERED},
                                                     {"ltu", LT | UNORDERED},
                                                     {"leu", LE | UNORDERED},
                                                     {"gtu", GT | UNORDERED},
                                                     {"geu", GE | UNORDERED},
                                                     {"num", NUM},
                                                     {"nan", NANS},
                                                     {"and", AND},
                                                     {"or", OR},
                                                     {"xor", XOR}};
    accept(in, "eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan and or xor");
    for (const std::string &word : in.words)
        if (modes.count(word))
            in.mode |= modes.at(word);
    in.run = pick<Setp, INTEGERS, FLOATS>(in.type);
}

} // namespace

const std::vector<Opcode> ARITHMETIC = {
    {"add", both<Add>},
    {"sub", both<Sub>},
    {"mul", decode_mul},
    {"mad", decode_mad},
    {"fma", decode_fma},
    {"div", decode_div},
    {"rem", integers<Rem>},
    {"min", both<Min>},
    {"max", both<Max>},
    {"abs", sign<Abs>},
    {"neg", sign<Neg>},
    {"and", logic<And>},
    {"or", logic<Or>},
    {"xor", logic<Xor>},
    {"not", decode_not},
    {"mov", decode_mov},
    {"selp", decode_selp},
    {"shl", shift<Shl>},
    {"shr", shift<Shr>},
    {"popc", counting<Popc>},
    {"clz", counting<Clz>},
    {"brev", decode_brev},
    {"sqrt", rounded<Sqrt>},
    {"rcp", rounded<Rcp>},
    {"rsqrt", decode_approximation},
    {"ex2", decode_approximation},
    {"lg2", decode_approximation},
    {"sin", decode_approximation},
    {"cos", decode_approximation},
    {"bfe", decode_bfe},
    {"bfi", decode_bfi},
    {"prmt", decode_prmt},
    {"shf", decode_shf},
    {"lop3", decode_lop3},
    {"dp4a", decode_dp4a},
    {"setp", decode_setp},
};

} // namespace softcuda
