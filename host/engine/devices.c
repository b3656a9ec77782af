/* The public list of devices is the backends' own. */
#include "host/backend/backend.h"

int sterna_devices(sterna_device_info *list, int max)
{
    return st_device_list(list, max);
}
