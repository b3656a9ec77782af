/* Built against the installed package only: the header stands alone and the library's calls resolve. */
#include <sterna/sterna.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    sterna_device_info devices[8];
    int n = sterna_devices(devices, 8);
    sterna_error error;
    sterna_model *model = NULL;
    sterna_model_params params;
    sterna_model_defaults(&params);
    sterna_status status = sterna_model_open(argc > 1 ? argv[1] : "no such file", &params, &model, &error);
    printf("%s %d %s\n", sterna_version(), n, status == STERNA_OK ? "model" : error.message);
    sterna_model_close(&model);
    return n >= 2 && status == (argc > 1 ? STERNA_OK : STERNA_E_IO) ? 0 : 1;
}
