#include "executor/cuda/emulation/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

#include "costmodel/check.h"

namespace shardwright::emulation {
namespace {

// The first object that the loader names is the program itself.
size_t load_address() {
  size_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<size_t*>(out) = info->dlpi_addr;
        return 1;
      },
      &address);
  return address;
}

std::vector<std::byte> read_program() {
  std::ifstream in("/proc/self/exe", std::ios::binary | std::ios::ate);
  SW_CHECK(in.good(), "cannot read /proc/self/exe");
  std::vector<std::byte> bytes(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

template <typename T>
T read_at(const std::vector<std::byte>& file, size_t offset) {
  SW_CHECK_LE(offset + sizeof(T), file.size(), "symbol table of /proc/self/exe");
  T out;
  std::memcpy(&out, file.data() + offset, sizeof(T));
  return out;
}

bool is_kernel_source(std::string_view name) { return name.ends_with(".cu"); }

// "void shardwright::(anonymous namespace)::fill<float>(float*, long)" -> "fill<float>"
std::string short_name(const char* mangled) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : mangled;
  std::free(demangled);
  for (const std::string_view scope : {"(anonymous namespace)::", "shardwright::"}) {
    for (size_t at; (at = name.find(scope)) != std::string::npos;) name.erase(at, scope.size());
  }
  int depth = 0;
  const auto parameters = std::find_if(name.begin(), name.end(), [&](char c) {
    depth += c == '<' ? 1 : c == '>' ? -1 : 0;
    return c == '(' && depth == 0;
  });
  name.erase(parameters, name.end());
  return name.starts_with("void ") ? name.substr(5) : name;
}

}  // namespace

const Symbols& Symbols::get() {
  static const Symbols symbols;
  return symbols;
}

Symbols::Symbols() { read(read_program(), load_address()); }

void Symbols::read(const std::vector<std::byte>& file, size_t load_address) {
  const auto header = read_at<Elf64_Ehdr>(file, 0);
  const auto section = [&](size_t i) {
    return read_at<Elf64_Shdr>(file, header.e_shoff + i * header.e_shentsize);
  };
  bool found = false;
  for (size_t s = 0; s < header.e_shnum; ++s) {
    const Elf64_Shdr table = section(s);
    if (table.sh_type != SHT_SYMTAB) continue;
    found = true;
    const Elf64_Shdr strings = section(table.sh_link);
    bool in_kernel_source = false;  // local symbols follow the name of their source file
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= table.sh_size; at += sizeof(Elf64_Sym)) {
      const auto symbol = read_at<Elf64_Sym>(file, table.sh_offset + at);
      const char* name =
          reinterpret_cast<const char*>(file.data()) + strings.sh_offset + symbol.st_name;
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FILE) in_kernel_source = is_kernel_source(name);
      if (type == STT_FUNC && symbol.st_value != 0) {
        functions_.push_back({symbol.st_value + load_address, name});
      }
      // Variables of functions are mangled as _ZZ; shared ones are never initialised (.bss).
      const bool local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL;
      if (type == STT_OBJECT && local && in_kernel_source && symbol.st_shndx < header.e_shnum &&
          section(symbol.st_shndx).sh_type == SHT_NOBITS &&
          std::string_view(name).starts_with("_ZZ")) {
        shared_.push_back(
            {reinterpret_cast<std::byte*>(symbol.st_value + load_address), symbol.st_size});
      }
    }
  }
  SW_CHECK(found, "the emulation finds shared memory by symbols, and this program is stripped");
  std::sort(functions_.begin(), functions_.end(),
            [](const Function& a, const Function& b) { return a.address < b.address; });
}

std::string Symbols::function_name(const void* address) const {
  const auto wanted = reinterpret_cast<size_t>(address);
  const auto found = std::lower_bound(
      functions_.begin(), functions_.end(), wanted,
      [](const Function& function, size_t value) { return function.address < value; });
  if (found == functions_.end() || found->address != wanted) return "?";
  return short_name(found->name.c_str());
}

}  // namespace shardwright::emulation
