#include "tests/softcuda/fatbin.h"

#include <cstring>
#include <elf.h>
#include <functional>
#include <zstd.h>

namespace softcuda
{
namespace
{

constexpr uint32_t MAGIC = 0xba55ed50, WRAPPER_MAGIC = 0x466243b1;
enum EntryKind { PTX = 1, CUBIN = 2 };
constexpr uint64_t EXACT_ARCH = 1ull << 20, LZ4 = 1ull << 13, ZSTD = 1ull << 15; // flags of an entry

template <class T> T read(const uint8_t *p)
{
    T value;
    memcpy(&value, p, sizeof value);
    return value;
}

std::string lz4_unpacked(const uint8_t *p, size_t bytes, size_t size)
{
    std::string out;
    auto length = [&](size_t n, const uint8_t *end) {
        if (n == 15)
            for (uint8_t more = 255; more == 255 && p < end; n += more)
                more = *p++;
        return n;
    };
    for (const uint8_t *end = p + bytes; p < end;) {
        uint8_t token = *p++;
        size_t literals = length(token >> 4, end);
        if (literals > size_t(end - p))
            throw Unsupported("fat binary: a broken LZ4 entry");
        out.append(reinterpret_cast<const char *>(p), literals);
        p += literals;
        if (end - p < 2)
            break;
        size_t distance = read<uint16_t>(p);
        p += 2;
        size_t match = length(token & 15, end) + 4;
        if (distance == 0 || distance > out.size() || out.size() + match > size)
            throw Unsupported("fat binary: a broken LZ4 entry");
        for (; match; match--)
            out += out[out.size() - distance];
    }
    return out;
}

struct Entry {
    int kind, arch;
    bool exact;
    const uint8_t *at;
    std::string data() const
    {
        uint32_t header = read<uint32_t>(at + 4), packed = read<uint32_t>(at + 16);
        uint64_t bytes = read<uint64_t>(at + 8), flags = read<uint64_t>(at + 40),
                 size = read<uint64_t>(at + 56);
        const uint8_t *data = at + header;
        if (flags & LZ4)
            return lz4_unpacked(data, packed, size);
        if (flags & ZSTD) {
            std::string out(size, '\0');
            size_t done = ZSTD_decompress(&out[0], size, data, packed);
            if (ZSTD_isError(done))
                throw Unsupported(std::string("fat binary: ") + ZSTD_getErrorName(done));
            return out;
        }
        return std::string(reinterpret_cast<const char *>(data), bytes);
    }
};

std::vector<Entry> entries(const void *image)
{
    const uint8_t *p = static_cast<const uint8_t *>(image);
    if (read<uint32_t>(p) == WRAPPER_MAGIC)
        p = read<const uint8_t *>(p + 8);
    std::vector<Entry> found;
    if (read<uint32_t>(p) != MAGIC)
        return found;
    const uint8_t *at = p + read<uint16_t>(p + 6), *end = at + read<uint64_t>(p + 8);
    while (at < end) {
        found.push_back({read<uint16_t>(at), int(read<uint32_t>(at + 28)),
                         (read<uint64_t>(at + 40) & EXACT_ARCH) != 0, at});
        at += read<uint32_t>(at + 4) + read<uint64_t>(at + 8);
    }
    return found;
}

constexpr uint8_t FORM_SYMBOL_VALUE = 4, REGISTER_COUNT = 0x2f; // of .nv.info

void read_elf(const std::string &elf, std::map<std::string, Resources> &resources)
{
    const uint8_t *base = reinterpret_cast<const uint8_t *>(elf.data());
    Elf64_Ehdr header = read<Elf64_Ehdr>(base);
    auto section = [&](unsigned i) {
        return read<Elf64_Shdr>(base + header.e_shoff + i * sizeof(Elf64_Shdr));
    };
    auto name_in = [&](const Elf64_Shdr &strings, uint32_t at) {
        return std::string(elf.c_str() + strings.sh_offset + at);
    };
    Elf64_Shdr names = section(header.e_shstrndx), symbols{}, strings{}, info{};
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr s = section(i);
        std::string name = name_in(names, s.sh_name);
        if (name.compare(0, 11, ".nv.shared.") == 0)
            resources[name.substr(11)].shared = uint32_t(s.sh_size);
        if (s.sh_type == SHT_SYMTAB) {
            symbols = s;
            strings = section(s.sh_link);
        }
        if (name == ".nv.info")
            info = s;
    }
    for (uint64_t at = 0; at + 4 <= info.sh_size;) {
        const uint8_t *p = base + info.sh_offset + at;
        bool sized = p[0] == FORM_SYMBOL_VALUE;
        if (sized && p[1] == REGISTER_COUNT) {
            Elf64_Sym symbol =
                read<Elf64_Sym>(base + symbols.sh_offset + read<uint32_t>(p + 4) * sizeof(Elf64_Sym));
            resources[name_in(strings, symbol.st_name)].registers = int(read<uint32_t>(p + 8));
        }
        at += 4 + (sized ? read<uint16_t>(p + 2) : 0u);
    }
}

// The newest of what the device may use.
const Entry *best(const std::vector<Entry> &all, int kind, const std::function<bool(const Entry &)> &usable)
{
    const Entry *found = nullptr;
    for (const Entry &e : all)
        if (e.kind == kind && usable(e) &&
            (!found || e.arch > found->arch || (e.arch == found->arch && e.exact)))
            found = &e;
    return found;
}

} // namespace

std::string eligible_ptx(const void *image, int arch)
{
    std::vector<Entry> all = entries(image);
    if (all.empty()) {
        const char *text = static_cast<const char *>(image);
        return strstr(text, ".version") ? text : "";
    }
    const Entry *e =
        best(all, PTX, [&](const Entry &x) { return x.exact ? x.arch == arch : x.arch <= arch; });
    return e ? e->data().c_str() : "";
}

std::map<std::string, Resources> cubin_resources(const void *image, int arch)
{
    std::map<std::string, Resources> resources;
    std::vector<Entry> all = entries(image);
    const Entry *e = best(all, CUBIN, [&](const Entry &x) {
        return x.exact ? x.arch == arch : x.arch <= arch && x.arch / 10 == arch / 10;
    });
    if (e)
        read_elf(e->data(), resources);
    return resources;
}

} // namespace softcuda
