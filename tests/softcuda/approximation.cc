// .approx and .full: any float within the error that the PTX manual documents. The nearest one, unless
// SOFTCUDA_APPROX is the seed of others: whoever needs the same bits on every card must not see a difference.
#include "tests/softcuda/settings.h"
#include "tests/softcuda/warp.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace softcuda
{
namespace
{

// The largest error: relative to the result, or absolute, whichever allows more.
struct Approximation {
    const char *name;
    double (*exact)(double a, double b);
    double relative, absolute;
};
// One or two units in the last place count as their smallest value, 2^-24 a unit.
const Approximation APPROXIMATIONS[] = {
    {"rcp", [](double a, double) { return 1 / a; }, 0x1p-24, 0},
    {"sqrt", [](double a, double) { return std::sqrt(a); }, 0x1p-23, 0},
    {"rsqrt", [](double a, double) { return 1 / std::sqrt(a); }, 0x1.125fbep-23, 0}, // 2^-22.9
    {"div", [](double a, double b) { return a / b; }, 0x1p-23, 0},
    {"ex2", [](double a, double) { return std::exp2(a); }, 0x1.6a09e6p-23, 0},     // 2^-22.5
    {"lg2", [](double a, double) { return std::log2(a); }, 0x1p-22, 0x1.5191p-23}, // 2^-22.6
    {"sin", [](double a, double) { return std::sin(a); }, 0, 0x1.6a09e6p-21},      // 2^-20.5
    {"cos", [](double a, double) { return std::cos(a); }, 0, 0x1.6a09e6p-21},
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
    const double bound = std::max(std::fabs(exact) * how.relative, how.absolute);
    const float other = float(exact + chosen(a, b, seed) * bound);
    // Rounding may have led out of the bound.
    return std::fabs(double(other) - exact) <= bound ? other : nearest;
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
    for (const Approximation &how : APPROXIMATIONS)
        if (in.words[0] == how.name)
            in.mode = int(&how - APPROXIMATIONS);
    in.run = run_approximation;
}

} // namespace softcuda
