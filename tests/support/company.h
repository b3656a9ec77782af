/* Requests with all their results when run alone, and scenarios in which they run in company: whatever
 * happens beside a request, its bits stay the same. */
#ifndef TEST_COMPANY_H
#define TEST_COMPANY_H

#include "tests/support/engine_rig.h"

enum { COMPANY_POOL = 24, COMPANY_MAX_PROMPT = 200, COMPANY_MAX_SAMPLE = 3 };
#define COMPANY_NAN_F32 UINT32_C(0x7fc00000)
#define COMPANY_NAN_ALL UINT32_C(0xffffffff) /* NaN as f32 and as f16 */

typedef struct company {
    sterna_token prompt[COMPANY_POOL][COMPANY_MAX_PROMPT];
    sterna_logit_bias bias[COMPANY_POOL][8];
    sterna_token stop_token[COMPANY_POOL];
    char stop[COMPANY_POOL][2][4];
    const char *stops[COMPANY_POOL][2];
    sterna_request request[COMPANY_POOL];
    rig_result alone[COMPANY_POOL][COMPANY_MAX_SAMPLE];
} company;

/* What happened in all scenarios together. */
typedef struct company_tally {
    uint64_t n_cached, n_preempted, n_accepted, n_wrong, n_cancelled, n_stop;
} company_tally;

/* Two layers and 320 tokens; small enough for hundreds of engines. */
sterna_model *company_model(uint64_t seed);
sterna_engine_params company_params(int32_t n_sequence, int32_t n_batch);
/* Requests of every kind and, of each sample, the result alone on `device`. Prompts begin alike, with one of
 * two texts, so that pages are shared. */
void company_fill(company *c, const sterna_model *model, uint64_t seed, int32_t longest, const char *device);
/* Requests arrive, run and are cancelled at random, on an engine that depends on the number; asserts that
 * every result is the one alone, and that nothing leaks. */
void company_run(const company *c, const sterna_model *model, const char *device, uint64_t seed, int number,
                 company_tally *tally);

#endif
