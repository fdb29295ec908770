#include "costmodel/calibrate/measured_ops.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "costmodel/json.h"

namespace shardwright {
namespace {

constexpr double kMaxDimension = 1e12;  // of any count or size: products stay far below overflow
constexpr double kPerMicrosecond = 1e-6;

struct Layout {
  OpKind kind;
  std::string_view header;
  size_t names;  // leading columns that are words
};
constexpr Layout kLayouts[] = {
    {OpKind::kGemm, "m,n,k,latency_us", 0},
    {OpKind::kAttention, "batch,seq,heads,kv_heads,head_dim,latency_us", 0},
    {OpKind::kCollectives, "collective,gpus,message_bytes,latency_us", 1}};

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> out;
  while (true) {
    const size_t comma = line.find(',');
    out.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    line.remove_prefix(comma + 1);
  }
}

std::string_view without_return(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// nccl-tests calls it alltoall.
bool parse_collective(std::string_view name, CollectiveKind* out) {
  return parse_collective_kind(name == "alltoall" ? "all_to_all" : std::string(name), out);
}

bool parse_positive(std::string_view text, double* out) {
  const char* end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, *out);
  return status == std::errc() && stop == end && *out > 0 && *out <= kMaxDimension;
}

// All columns but the words and the latency are whole numbers.
std::string read_row(const Layout& layout, const std::vector<std::string_view>& cells,
                     DataType type, MeasuredOp* out) {
  std::vector<int64_t> counts;
  for (size_t i = layout.names; i < cells.size(); ++i) {
    double value = 0;
    if (!parse_positive(cells[i], &value)) {
      return "column " + std::to_string(i + 1) + ": found \"" + printable(cells[i]) +
             "\", expected a positive number";
    }
    counts.push_back(static_cast<int64_t>(value));
    if (i + 1 == cells.size()) {
      out->seconds = value * kPerMicrosecond;
    } else if (static_cast<double>(counts.back()) != value) {
      return "column " + std::to_string(i + 1) + ": found \"" + printable(cells[i]) +
             "\", expected a whole number";
    }
  }
  switch (layout.kind) {
    case OpKind::kGemm:
      out->gemm = {GemmLayout::kForward, counts[0], counts[1], counts[2], 1, type};
      return "";
    case OpKind::kAttention:
      out->attention = {false,     counts[0], counts[1], counts[2], counts[3],
                        counts[4], counts[4], 0,         type};
      return counts[3] > counts[2] ? "more kv_heads than heads" : "";
    case OpKind::kCollectives:
      out->ranks = counts[0];
      out->bytes = counts[1];
      if (counts[0] < 2) return "gpus: found 1, expected at least 2";
      return parse_collective(cells[0], &out->collective)
                 ? ""
                 : "an unknown collective \"" + printable(cells[0]) + "\"";
  }
  return "";
}

const Layout* layout_of(std::string_view header) {
  for (const Layout& layout : kLayouts) {
    if (layout.header == header) return &layout;
  }
  return nullptr;
}

// DEVICE.TYPE.csv
bool read_name(const std::string& path, MeasuredOps* out) {
  const std::string stem = std::filesystem::path(path).stem().string();
  const size_t dot = stem.rfind('.');
  if (dot == std::string::npos || dot == 0) return false;
  out->device = stem.substr(0, dot);
  out->type_name = stem.substr(dot + 1);
  if (out->kind == OpKind::kCollectives) return true;
  return parse_data_type(out->type_name, &out->type);
}

void add_csv_files(const std::filesystem::path& folder, std::vector<std::string>* out) {
  std::error_code ignored;
  const size_t before = out->size();
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".csv") out->push_back(entry.path().string());
  }
  std::sort(out->begin() + static_cast<std::ptrdiff_t>(before), out->end());
}

}  // namespace

const char* name_of(OpKind kind) {
  return kind == OpKind::kGemm ? "gemm" : kind == OpKind::kAttention ? "attention" : "collectives";
}

Result<MeasuredOps> read_measured_ops(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text) return text.error();
  MeasuredOps out;
  out.file = path;
  std::string_view rest = *text;
  const Layout* layout = nullptr;
  size_t columns = 0;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    const std::string_view row = without_return(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (layout == nullptr) {
      layout = layout_of(row);
      if (layout == nullptr) break;
      out.kind = layout->kind;
      columns = split(row).size();
      if (!read_name(path, &out)) {
        return Error{printable(path, 1000), "name", "",
                     "DEVICE.TYPE.csv, as h100-sxm-80gb.bf16.csv"};
      }
      continue;
    }
    if (row.empty()) continue;
    const std::vector<std::string_view> cells = split(row);
    MeasuredOp op;
    op.line = line;
    const std::string reason =
        cells.size() != columns
            ? std::to_string(cells.size()) + " columns, expected " + std::to_string(columns)
            : read_row(*layout, cells, out.type, &op);
    if (reason.empty()) {
      out.ops.push_back(op);
    } else {
      out.refused.push_back({line, reason});
    }
  }
  if (layout == nullptr) {
    return Error{printable(path, 1000), "first line", "no known header",
                 "m,n,k,latency_us, batch,seq,heads,kv_heads,head_dim,latency_us or "
                 "collective,gpus,message_bytes,latency_us"};
  }
  return out;
}

Result<std::vector<std::string>> find_measured_ops(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      return Error{printable(path, 1000), "", "nothing", "a CSV file or a folder of them"};
    }
    if (!std::filesystem::is_directory(path, ignored)) {
      out.push_back(path);
      continue;
    }
    const size_t before = out.size();
    add_csv_files(path, &out);
    for (const char* kind : {"gemm", "attention", "collectives"}) {
      add_csv_files(std::filesystem::path(path) / kind, &out);
    }
    if (out.size() == before) {
      return Error{printable(path, 1000), "", "no CSV files",
                   "a folder with gemm/, attention/ or collectives/"};
    }
  }
  return out;
}

}  // namespace shardwright
