/* Prints the binary interface of the library: sizes of public structs, where their fields are, and values of
 * constants. scripts/abi compares this, and the exported symbols, with tests/data/abi.txt: a difference is a change
 * that programs built against an earlier header would notice. */
#include <sterna/linear.h>
#include <sterna/sterna.h>

#include <stdio.h>

#define STRUCT(type)       printf("struct %s %zu\n", #type, sizeof(type))
#define FIELD(type, field) printf("  %s %zu %zu\n", #field, offsetof(type, field), sizeof(((type *)0)->field))
#define VALUE(name)        printf("value %s %lld\n", #name, (long long)(name))

int main(void)
{
#include "abi_list.h"
    return 0;
}
