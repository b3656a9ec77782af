// cvt and cvta. A register may be wider than the type that an instruction gives it.
#include "tests/softcuda/warp.h"

#include <cmath>
#include <cstring>

namespace softcuda
{
namespace
{

enum Rounding {
    NEAREST,
    ZERO,
    DOWN,
    UP,
    NEAREST_INTEGER,
    ZERO_INTEGER,
    DOWN_INTEGER,
    UP_INTEGER,
    SATURATE = 16
};

float from_half(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                      : exponent == 0 ? std::ldexp(float(fraction), -24)
                                      : std::ldexp(float(1024 + fraction), exponent - 25);
    return h >> 15 ? -magnitude : magnitude;
}

// Nearest even. The quotient by the spacing of halves around the value is exact, so that one rint() rounds.
uint16_t to_half(double x)
{
    uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    double a = std::fabs(x);
    if (a != a)
        return 0x7fff;
    if (a >= 65520)
        return sign | 0x7c00;
    int exponent = std::max(a == 0 ? -14 : std::ilogb(a), -14);
    double steps = std::rint(std::ldexp(a, 10 - exponent)); // 1024 per binade
    return uint16_t(sign | (((exponent + 14) << 10) + int(steps)));
}

int64_t sign_extended(uint64_t value, unsigned bits)
{
    return int64_t(value << (64 - bits)) >> (64 - bits);
}

double to_integral(double x, int rounding)
{
    switch (rounding & 3) {
    case NEAREST:
        return std::rint(x);
    case ZERO:
        return std::trunc(x);
    case DOWN:
        return std::floor(x);
    default:
        return std::ceil(x);
    }
}

uint64_t float_to_integer(double x, Type to, int rounding)
{
    if (x != x)
        return 0;
    double r = to_integral(x, rounding);
    bool is_signed = to.kind == Kind::S;
    double limit = std::ldexp(1.0, to.bits - is_signed);
    if (r >= limit)
        return is_signed ? (1ull << (to.bits - 1)) - 1 : ~0ull >> (64 - to.bits);
    if (is_signed)
        return r < -limit ? 1ull << (to.bits - 1) : uint64_t(int64_t(r));
    return r < 0 ? 0 : uint64_t(r);
}

uint64_t as_float_bits(double x, Type to)
{
    uint64_t bits = 0;
    float f = float(x);
    if (to.bits == 16)
        return to_half(x);
    if (to.bits == 32)
        memcpy(&bits, &f, 4);
    else
        memcpy(&bits, &x, 8);
    return bits;
}

double float_value(uint64_t bits, Type from)
{
    float f;
    double d;
    memcpy(&f, &bits, 4);
    memcpy(&d, &bits, 8);
    return from.bits == 16 ? double(from_half(uint16_t(bits))) : from.bits == 32 ? double(f) : d;
}

uint64_t converted(uint64_t bits, Type to, Type from, int mode)
{
    if (from.kind == Kind::F) {
        double x = float_value(bits, from);
        if (to.kind != Kind::F)
            return float_to_integer(x, to, mode);
        if ((mode & 15) >= NEAREST_INTEGER)
            x = to_integral(x, mode);
        if (mode & SATURATE)
            x = x > 0 ? std::min(x, 1.0) : 0.0;
        return as_float_bits(x, to);
    }
    int64_t value =
        from.kind == Kind::S ? sign_extended(bits, from.bits) : int64_t(bits & ~0ull >> (64 - from.bits));
    if (to.kind != Kind::F)
        return uint64_t(value);
    bool big = from.kind == Kind::U && value < 0;
    if (to.bits == 32) { // straight to float: over double it would round twice
        float f = big ? float(uint64_t(value)) : float(value);
        return as_float_bits(double(f), to);
    }
    return as_float_bits(big ? double(uint64_t(value)) : double(value), to);
}

void run_cvt(Warp &w, const Instruction &in)
{
    Type to = in.type, from = in.source_type;
    for_active(w, [&](int l) {
        uint64_t value = converted(w.get(in.args[1], l), to, from, in.mode);
        bool extend = to.kind == Kind::S && to.bits < in.args[0].bits;
        if (to.bits < 64)
            value = extend ? uint64_t(sign_extended(value, to.bits)) : value & ~0ull >> (64 - to.bits);
        w.set(in.args[0], l, value);
    });
}

template <class D, class S> void run_plain(Warp &w, const Instruction &in)
{
    D *d = w.lanes<D>(in.slots[0]);
    const S *s = w.lanes<S>(in.slots[1]);
    if (w.mask == ~0u)
        for (int l = 0; l < LANES; l++)
            d[l] = D(s[l]);
    else
        for_active(w, [&](int l) { d[l] = D(s[l]); });
}

void decode_cvt(Instruction &in)
{
    static const std::map<std::string, int> modes = {{"rn", NEAREST},       {"rni", NEAREST_INTEGER},
                                                     {"rzi", ZERO_INTEGER}, {"rmi", DOWN_INTEGER},
                                                     {"rpi", UP_INTEGER},   {"sat", SATURATE}};
    accept(in, "rn rni rzi rmi rpi sat");
    for (const std::string &word : in.words)
        if (modes.count(word))
            in.mode |= modes.at(word);
    Type to = in.type, from = in.source_type;
    if ((in.mode & SATURATE) && to.kind != Kind::F)
        throw Unsupported("instruction '" + in.text + "': saturation to an integer");
    bool same = in.args[0].bits == to.bits && in.args[1].bits == from.bits;
    in.run = run_cvt;
    if (same && to.kind == Kind::F && to.bits == 32 && from.kind == Kind::S && from.bits == 32)
        in.run = run_plain<float, int32_t>;
    if (same && to.kind != Kind::F && from.kind != Kind::F && to.bits == 64 && from.bits == 32)
        in.run = from.kind == Kind::S ? run_plain<int64_t, int32_t> : run_plain<uint64_t, uint32_t>;
    if (same && to.kind != Kind::F && from.kind != Kind::F && to.bits == 32 && from.bits == 64)
        in.run = run_plain<uint32_t, uint64_t>;
}

void run_cvta(Warp &w, const Instruction &in)
{
    uint64_t base = in.space == Space::SHARED ? SHARED_WINDOW : in.space == Space::LOCAL ? LOCAL_WINDOW : 0;
    for_active(w, [&](int l) {
        uint64_t a = w.get(in.args[1], l);
        w.set(in.args[0], l, in.mode ? a - base : a + base);
    });
}
void decode_cvta(Instruction &in)
{
    accept(in, "to global shared local param const");
    in.mode = has(in, "to");
    if (in.space == Space::PARAM)
        throw Unsupported("instruction '" + in.text + "': addresses of parameters");
    in.run = run_cvta;
}

} // namespace

const std::vector<Opcode> CONVERSIONS = {{"cvt", decode_cvt}, {"cvta", decode_cvta}};

} // namespace softcuda
