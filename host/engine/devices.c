/* The public list of devices is the backends' own. */
#include "host/backend/backend.h"

int sterna_device_count(void)
{
    return st_device_list(-1, NULL);
}

sterna_status sterna_device_describe(int index, sterna_device_info *info)
{
    sterna_device_info found = {0};
    if (!info || index < 0 || index >= st_device_list(index, &found))
        return STERNA_E_ARGUMENT;
    return st_struct_write(info, &found, sizeof found);
}
