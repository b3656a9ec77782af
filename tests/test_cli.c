/* The built tool, run as its users run it: its frame and options, exit codes and messages to the letter. */
#include "host/cli/text.h"
#include "tests/support/cli_rig.h"

/* ---- the frame ---- */

Test(cli, frame)
{
    expect_output(RUN(NULL, "--version"), 0, "sterna 0.1.0\n");
    expect_output(RUN(NULL, "--help"), 0, "  run        Generate text from a model.\n");
    expect_output(RUN(NULL, "run", "--help"), 0, "-n, --predict N");
    expect_output(RUN(NULL, "run", "--help"), 0, "temperature; 0 = always the likeliest token (default 0.8)");
    expect_output(RUN(NULL, "run", "--help"), 0, "(default fair)");
    expect_output(RUN(NULL, "run", "--help"), 0, "15043-inf bans it (may be repeated)");
    expect_output(RUN(NULL, "chat", "--help"), 0, "\nsampling:\n  -n, --predict N ");
    expect_output(RUN(NULL, "perplexity", "--help"), 0, "tokens of a chunk");
    expect_output(RUN(NULL, "info", "-h"), 0, "--metadata");
    expect_failure(RUN(NULL, "fly"), 2, "sterna: unknown command 'fly' (try sterna --help)\n");
    spawned s = spawn((const char *const[]){STERNA_BINARY, NULL}, NULL);
    cr_expect(s.code == 2 && s.out_size == 0 && strncmp(s.err, "usage: sterna COMMAND", 21) == 0);
    spawned_free(&s);
    spawn_options full = {.out_path = "/dev/full"};
    expect_failure(RUN(&full, "--version"), 1,
                   "sterna --version: cannot write to standard output: No space left on device\n");
}

Test(cli, option_errors)
{
    expect_failure(RUN(NULL, "run", "--wings"), 2,
                   "sterna run: unknown option '--wings' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "run", "text"), 2,
                   "sterna run: unexpected argument 'text' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "run", "-m"), 2, "sterna run: --model needs a value (FILE)\n");
    expect_failure(RUN(NULL, "run", "--ignore-eos=1"), 2, "sterna run: --ignore-eos takes no value\n");
    expect_failure(RUN(NULL, "run", "-n", "many"), 2,
                   "sterna run: --predict: 'many' is not a whole number\n");
    expect_failure(RUN(NULL, "run", "-n", "7x"), 2, "sterna run: --predict: '7x' is not a whole number\n");
    expect_failure(RUN(NULL, "run", "-n", "-2"), 2,
                   "sterna run: --predict: -2 is out of range (-1 ... 1048576)\n");
    expect_failure(RUN(NULL, "run", "-t", "99999999999999999999"), 2,
                   "sterna run: --threads: 99999999999999999999 is out of range (0 ... 256)\n");
    expect_failure(RUN(NULL, "run", "--temp=warm"), 2, "sterna run: --temp: 'warm' is not a number\n");
    expect_failure(RUN(NULL, "run", "--temp", "nan"), 2, "sterna run: --temp: 'nan' is not a number\n");
    expect_failure(RUN(NULL, "run", "--top-p", "1.5"), 2,
                   "sterna run: --top-p: 1.5 is out of range (0 ... 1)\n");
    expect_failure(RUN(NULL, "run", "-s", "-1"), 2,
                   "sterna run: --seed: '-1' is not a whole number from 0\n");
    expect_failure(RUN(NULL, "run", "-s", "18446744073709551616"), 2,
                   "sterna run: --seed: 18446744073709551616 is out of range (0 ... 18446744073709551615)\n");
    expect_failure(RUN(NULL, "run", "--prefill", "lifo"), 2,
                   "sterna run: --prefill: 'lifo' is not one of fair|fifo\n");
    expect_failure(RUN(NULL, "run", "--prefill", "fai"), 2,
                   "sterna run: --prefill: 'fai' is not one of fair|fifo\n");
    expect_failure(RUN(NULL, "run", "--prefill", "fairly"), 2,
                   "sterna run: --prefill: 'fairly' is not one of fair|fifo\n");
    static const char *const sizes[] = {"", "G", "-1", "1.5G", "512MB", "1g", "12 M"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char message[128];
        snprintf(message, sizeof message,
                 "sterna run: --kv-memory: '%s' is not a number of bytes, such as 512M or 2G\n", sizes[i]);
        expect_failure(RUN(NULL, "run", "--kv-memory", sizes[i]), 2, message);
    }
    expect_failure(RUN(NULL, "run", "--kv-memory", "8388608T"), 2,
                   "sterna run: --kv-memory: 8388608T is more than 9223372036854775807 bytes\n");
    expect_failure(RUN(NULL, "run", "--samples", "129"), 2,
                   "sterna run: --samples: 129 is out of range (1 ... 128)\n");
    expect_failure(RUN(NULL, "run", "--logprobs", "21"), 2,
                   "sterna run: --logprobs: 21 is out of range (-1 ... 20)\n");
    expect_failure(RUN(NULL, "run", "--draft", "16"), 2,
                   "sterna run: --draft: 16 is out of range (0 ... 15)\n");
    expect_failure(RUN(NULL, "run", "--repeat-penalty", "0"), 2,
                   "sterna run: --repeat-penalty: 0 is out of range (0.01 ... 100)\n");
    expect_failure(RUN(NULL, "run", "--\x1b[2J"), 2,
                   "sterna run: unknown option '--?[2J' (try sterna run --help)\n");
    expect_failure(RUN(NULL, "devices", "--jsn"), 2,
                   "sterna devices: unknown option '--jsn' (try sterna devices --help)\n");
}

/* ---- info and devices ---- */

Test(cli, info_and_devices, .timeout = 30)
{
    char model[TINY_PATH];
    make_model(256, model);
    expect_output(RUN(NULL, "info", "-m", model), 0, "layers        2 of width 256, feed-forward 512\n");
    expect_output(RUN(NULL, "info", "-m", model, "--metadata"), 0, "general.architecture = bitnet-b1.58\n");
    expect_output(RUN(NULL, "info", "-m", model, "--tensors"), 0, "blk.1.ffn_down.weight            TQ2_0");
    expect_failure(RUN(NULL, "info"), 2, "sterna info: no model: give one with --model FILE\n");
    spawned s = RUN(NULL, "info", "-m", "/dev/null");
    cr_expect(s.code == 1 && strncmp(s.err, "sterna info: ", 13) == 0 && s.out_size == 0, "%s", s.err);
    spawned_free(&s);
    s = RUN(NULL, "info", "-m", model, "--tensors", "--metadata", "--json");
    json_t *info = json_loads(s.out, 0, NULL);
    cr_assert(s.code == 0 && info, "%s", s.out);
    cr_expect_eq(json_integer_value(json_object_get(info, "n_layer")), 2);
    cr_expect(json_array_size(json_object_get(info, "tensors")) > 20);
    cr_expect(json_is_object(json_object_get(info, "metadata")));
    json_decref(info);
    spawned_free(&s);
    expect_output(RUN(NULL, "devices"), 0, "ref        ready ");
    s = RUN(NULL, "devices", "--json");
    json_t *list = json_loads(s.out, 0, NULL);
    cr_assert(s.code == 0 && json_is_array(list), "%s", s.out);
    bool cpu = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *d = json_array_get(list, i);
        cpu = cpu || strcmp(json_string_value(json_object_get(d, "name")), "cpu") == 0;
        cr_expect(json_string_length(json_object_get(d, "description")) > 0);
    }
    cr_expect(cpu);
    json_decref(list);
    spawned_free(&s);
    unlink(model);
}

/* ---- bytes ---- */

Test(cli, what_is_no_character_is_replaced)
{
    st_bytes bytes = {0};
    cr_assert(st_utf8_append(&bytes,
                             "a\xff\xe2\x82\xac\xe2\x82"
                             "b\0c\xed\xa0\x80\xf0\x9f\x98\x80\xf0\x9f\x98",
                             20));
    static const char expected[] = "a\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd"
                                   "b\0c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80"
                                   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
    cr_expect_eq(bytes.size, sizeof expected - 1);
    cr_expect_arr_eq(bytes.data, expected, sizeof expected - 1);
    st_bytes_free(&bytes);
}

Test(cli, escapes)
{
    static const struct {
        const char *text, *plain; /* NULL: refused */
    } cases[] = {{"", ""},
                 {"a b", "a b"},
                 {"\\n\\t\\r\\\\", "\n\t\r\\"},
                 {"\\x41\\x7e\\xfF.", "A~\xff."},
                 {"\\\\n", "\\n"},
                 {"\\", NULL},
                 {"a\\q", NULL},
                 {"\\x", NULL},
                 {"\\x4", NULL},
                 {"\\xg0", NULL},
                 {"\\x00", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[128] = "";
        char *plain = st_text_unescape(cases[i].text, why);
        if (!cases[i].plain)
            cr_expect(!plain && strstr(why, "is not one of the escapes"), "%s", cases[i].text);
        else
            cr_expect(plain && strcmp(plain, cases[i].plain) == 0, "%s: %s", cases[i].text, why);
        free(plain);
    }
}

Test(cli, files_have_an_end)
{
    st_bytes bytes = {0};
    char why[128] = "", path[64];
    write_file(path, "12345", 5);
    cr_expect(st_bytes_read(&bytes, path, 5, why) && bytes.size == 5);
    st_bytes_free(&bytes);
    cr_expect(!st_bytes_read(&bytes, path, 4, why) && bytes.size == 0);
    cr_expect_str_eq(why, "it has more than 4 bytes");
    cr_expect(!st_bytes_read(&bytes, "/dev/zero", 1 << 20, why));
    cr_expect_str_eq(why, "it has more than 1048576 bytes");
    unlink(path);
}
