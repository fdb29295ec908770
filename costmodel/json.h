// Strict reading of JSON that users wrote.
//
// parse_json refuses what nlohmann's parser would let pass silently: duplicate keys, nesting deeper
// than 64, files over 64 MiB, numbers that overflow. Fields walks one object: each getter checks
// type and range and records the FIRST error; after an error required numbers come back as the low
// end of their range (so they may be divided by) and the rest empty, so a reader can be written
// straight down and ask for the error once at the end. finish() also refuses unknown keys.
//
// Sources: json.cc parses, json_fields.cc holds Fields, json_files.cc reads and writes files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/result.h"

namespace shardwright {

// Keeps the order of keys as written: the same value always prints the same bytes.
using Json = nlohmann::ordered_json;

// `file` only names the text in errors. Fails with what is wrong and the byte offset.
Result<Json> parse_json(std::string_view text, const std::string& file);
// Fails when the file cannot be opened, is a directory, or does not parse.
Result<Json> read_json_file(const std::string& path);

// Whole file as bytes, at most `limit_bytes`.
Result<std::string> read_file(const std::string& path, int64_t limit_bytes = int64_t{64} << 20);
// Writes to a temporary file beside `path`, then renames: a reader never sees half a file.
// Returns an error (folder missing, not writable, disk full) and leaves nothing behind.
std::optional<Error> write_file_atomically(const std::string& path, std::string_view content);

class Fields {
 public:
  // `object` must outlive this. `prefix` is prepended to field names in errors ("layers[3].").
  Fields(const Json& object, std::string file, std::string prefix = "");

  bool has(const std::string& key);  // present and not null; marks the key as known

  // Required forms: absent, null, wrong type or out of range is an error.
  int64_t integer(const std::string& key, int64_t low, int64_t high);
  double number(const std::string& key, double low, double high);
  bool boolean(const std::string& key);
  std::string text(const std::string& key);  // at most 4096 bytes
  std::vector<int64_t> integers(const std::string& key, int64_t low, int64_t high);
  std::vector<double> numbers(const std::string& key, double low, double high);
  const Json& object(const std::string& key);  // an empty object after an error
  const Json& array(const std::string& key);   // an empty array after an error

  // Optional forms: absent or null gives `fallback`; a present wrong value is still an error.
  int64_t integer_or(const std::string& key, int64_t fallback, int64_t low, int64_t high);
  double number_or(const std::string& key, double fallback, double low, double high);
  bool boolean_or(const std::string& key, bool fallback);
  std::string text_or(const std::string& key, const std::string& fallback);

  void ignore(std::initializer_list<const char*> keys);  // known, but of no interest here
  void fail(const std::string& key, const std::string& found, const std::string& expected);
  std::string path_of(const std::string& key) const { return prefix_ + key; }

  const std::optional<Error>& error() const { return error_; }
  // The first error, or one for the first key that no getter has named.
  std::optional<Error> finish();

 private:
  const Json* find(const std::string& key);
  const Json* require(const std::string& key, const char* expected);

  const Json& object_;
  std::string file_;
  std::string prefix_;
  std::set<std::string> known_;
  std::optional<Error> error_;
};

// A short quotation of a JSON value for an Error's `found`.
std::string quote(const Json& value);
// Bytes of unknown origin as they may stand in a one-line message: control characters and bytes
// outside ASCII become '?', and what exceeds `limit` bytes is cut with "...".
std::string printable(std::string_view text, size_t limit = 80);

}  // namespace shardwright
