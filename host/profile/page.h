/* The parts of the HTML page. Marks are coloured by place: classes p0 ... p6, "host" and "gap" of the style
 * sheet in page_style.c. */
#ifndef ST_PAGE_H
#define ST_PAGE_H

#include "host/profile/report.h"

extern const char st_page_style[];

void st_html_text(FILE *out, const char *text); /* escaped; control characters become '?' */
/* Axis labels and the like: "0.1", "20", "1000". */
const char *st_tick(double value, char text[24]);

void st_page_bytes(const st_profile *profile, FILE *out);
void st_page_roofline(const st_profile *profile, FILE *out);
void st_page_time(const st_profile *profile, FILE *out);
void st_page_tables(const st_profile *profile, FILE *out);

#endif
