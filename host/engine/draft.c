#include "host/engine/draft.h"

/* Where the latest earlier occurrence of the last ST_DRAFT_NGRAM tokens ends, or of fewer of them if those do
 * not occur; 0 if not even two do. */
static int32_t look_up(const int32_t *token, int32_t n)
{
    int32_t found = 0, longest = 1;
    int32_t first = (int32_t)st_max(n - ST_DRAFT_WINDOW, 1);
    for (int32_t end = n - 1; end > first && longest < ST_DRAFT_NGRAM; end--) {
        int32_t same = 0;
        while (same < ST_DRAFT_NGRAM && same < end && token[end - 1 - same] == token[n - 1 - same])
            same++;
        if (same > longest) {
            longest = same;
            found = end;
        }
    }
    return found;
}

int32_t st_draft(const int32_t *token, int32_t n, int32_t most, int32_t *draft)
{
    int32_t from = most > 0 ? look_up(token, n) : 0, count = 0;
    if (from == 0)
        return 0;
    /* Past the end of the text the draft continues itself: a loop is drafted as a loop. */
    for (; count < most; count++)
        draft[count] = from + count < n ? token[from + count] : draft[from + count - n];
    return count;
}
