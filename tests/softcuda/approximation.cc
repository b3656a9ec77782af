// .approx and .full: any float within the error that the PTX manual states. The nearest one, unless
// SOFTCUDA_APPROX is the seed of others: whoever needs the same bits on every card must not see a difference.
#include "tests/softcuda/settings.h"
#include "tests/softcuda/warp.h"

#include <cmath>
#include <cstring>
#include <string>

namespace softcuda
{
namespace
{

// The largest errors by operand a and result y; roots have no sign.
double one_ulp(double, double y)
{
    return std::ldexp(1, std::ilogb(y) - 23);
}
double two_ulp(double, double y)
{
    return 2 * one_ulp(0, y);
}
double square_root(double, double y)
{
    return y * 0x1p-23;
}
double reciprocal_root(double, double y)
{
    return y * 0x1.125fbep-23; // 2^-22.9
}
double logarithm(double a, double y)
{
    return 0x1p-22 * (a > 0.5 && a < 2 ? 1 : std::fabs(y));
}
double angle(double a, double)
{
    constexpr double PI = 3.14159265358979323846;
    return std::fabs(a) <= 2 * PI     ? 0x1.6a09e6p-21 // 2^-20.5
           : std::fabs(a) <= 100 * PI ? 0x1.3b2c46p-15 // 2^-14.7
                                      : 1;             // nothing is promised
}

// For b above 2^126 this is a * 0: 1 / b is subnormal there.
double quotient(double a, double b)
{
    return std::fabs(b) > 0x1p126 ? a * std::copysign(0, b) : a / b;
}

// What the manual (PTX ISA 9.1) approximates, how closely, and in which section.
struct Approximation {
    const char *name;
    double (*exact)(double a, double b);
    double (*error)(double a, double y);
    bool from_rounded; // the error is counted from the correctly rounded result
};
const Approximation APPROXIMATIONS[] = {
    {"div.approx", quotient, two_ulp, false},                                                    // 9.7.3.8
    {"div.full", [](double a, double b) { return a / b; }, two_ulp, false},                      // 9.7.3.8
    {"rcp.approx", [](double a, double) { return 1 / a; }, one_ulp, false},                      // 9.7.3.13
    {"sqrt.approx", [](double a, double) { return std::sqrt(a); }, square_root, false},          // 9.7.3.15
    {"rsqrt.approx", [](double a, double) { return 1 / std::sqrt(a); }, reciprocal_root, false}, // 9.7.3.16
    {"sin.approx", [](double a, double) { return std::sin(a); }, angle, false},                  // 9.7.3.18
    {"cos.approx", [](double a, double) { return std::cos(a); }, angle, false},                  // 9.7.3.19
    {"lg2.approx", [](double a, double) { return std::log2(a); }, logarithm, false},             // 9.7.3.20
    {"ex2.approx", [](double a, double) { return std::exp2(a); }, two_ulp, true},                // 9.7.3.21
};

// -1 ... 1 by the operands' bits: a function, as on a card.
double chosen(float a, float b, uint64_t seed)
{
    uint32_t x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    uint64_t h = (seed ^ (uint64_t(y) << 32 | x)) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 31) * 0xbf58476d1ce4e5b9u;
    return double(int64_t(h ^ h >> 29)) * 0x1p-63;
}

float approximated(const Approximation &how, float a, float b, uint64_t seed)
{
    const double exact = how.exact(double(a), double(b));
    const float nearest = float(exact);
    if (seed == 0 || !std::isfinite(nearest) || std::fpclassify(nearest) != FP_NORMAL)
        return nearest;
    const double center = how.from_rounded ? double(nearest) : exact, bound = how.error(double(a), center);
    const float other = float(center + chosen(a, b, seed) * bound);
    // Rounding may have led out of the bound.
    return std::fabs(double(other) - center) <= bound ? other : nearest;
}

void run_approximation(Warp &w, const Instruction &in)
{
    const Approximation &how = APPROXIMATIONS[in.mode];
    const bool two = in.args.size() > 2;
    const uint64_t seed = setting(Setting::approx);
    const float *a = w.lanes<float>(in.slots[1]), *b = two ? w.lanes<float>(in.slots[2]) : a;
    float *d = w.lanes<float>(in.slots[0]);
    for_active(w, [&](int l) { d[l] = approximated(how, a[l], two ? b[l] : 0, seed); });
}

} // namespace

void decode_approximation(Instruction &in)
{
    accept(in, "approx full");
    if (in.type.kind != Kind::F || in.type.bits != 32)
        return; // refused for its type
    const std::string name = in.words[0] + (has(in, "full") ? ".full" : ".approx");
    for (const Approximation &how : APPROXIMATIONS)
        if (name == how.name) {
            in.mode = int(&how - APPROXIMATIONS);
            in.run = run_approximation;
        }
}

} // namespace softcuda
