#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "costmodel/json.h"

namespace shardwright {
namespace {

const Json kEmptyObject = Json::object();
const Json kEmptyArray = Json::array();
constexpr size_t kMaxStringBytes = 4096;

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

std::string integer_range(int64_t low, int64_t high) {
  if (high == std::numeric_limits<int64_t>::max()) {
    return "an integer of at least " + std::to_string(low);
  }
  return "an integer from " + std::to_string(low) + " to " + std::to_string(high);
}

std::string number_range(double low, double high) {
  if (high >= std::numeric_limits<double>::max()) {
    return "a number of at least " + short_number(low);
  }
  return "a number from " + short_number(low) + " to " + short_number(high);
}

bool read_integer(const Json& value, int64_t low, int64_t high, int64_t* out) {
  if (!value.is_number_integer()) return false;
  const uint64_t max = std::numeric_limits<int64_t>::max();
  if (value.is_number_unsigned() && value.get<uint64_t>() > max) return false;
  *out = value.get<int64_t>();
  return *out >= low && *out <= high;
}

bool read_number(const Json& value, double low, double high, double* out) {
  if (!value.is_number()) return false;
  *out = value.get<double>();
  return *out >= low && *out <= high;
}

std::string plural(size_t count, const char* noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text.size() > limit ? out + "..." : out;
}

std::string quote(const Json& value) {
  if (value.is_object()) return "an object of " + plural(value.size(), "key");
  if (value.is_array()) return "a list of " + plural(value.size(), "element");
  if (value.is_string()) return '"' + printable(value.get_ref<const std::string&>()) + '"';
  return printable(value.dump());
}

Fields::Fields(const Json& object, std::string file, std::string prefix)
    : object_(object), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (object.is_object()) return;
  std::string field = prefix_;
  if (!field.empty() && field.back() == '.') field.pop_back();
  error_ = Error{file_, field, quote(object), "an object"};
}

const Json* Fields::find(const std::string& key) {
  known_.insert(key);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json* Fields::require(const std::string& key, const char* expected) {
  const Json* value = find(key);
  if (value == nullptr) fail(key, "nothing", expected);
  return value;
}

bool Fields::has(const std::string& key) { return find(key) != nullptr; }

int64_t Fields::integer(const std::string& key, int64_t low, int64_t high) {
  const std::string expected = integer_range(low, high);
  const Json* value = require(key, expected.c_str());
  int64_t out = low;
  if (value == nullptr || read_integer(*value, low, high, &out)) return out;
  fail(key, quote(*value), expected);
  return low;
}

double Fields::number(const std::string& key, double low, double high) {
  const std::string expected = number_range(low, high);
  const Json* value = require(key, expected.c_str());
  double out = low;
  if (value == nullptr || read_number(*value, low, high, &out)) return out;
  fail(key, quote(*value), expected);
  return low;
}

bool Fields::boolean(const std::string& key) {
  const Json* value = require(key, "true or false");
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  fail(key, quote(*value), "true or false");
  return false;
}

std::string Fields::text(const std::string& key) {
  const Json* value = require(key, "a string");
  if (value == nullptr) return "";
  if (!value->is_string()) {
    fail(key, quote(*value), "a string");
  } else if (value->get_ref<const std::string&>().size() > kMaxStringBytes) {
    fail(key, "a longer one", "a string of at most 4096 bytes");
  } else {
    return value->get<std::string>();
  }
  return "";
}

std::vector<int64_t> Fields::integers(const std::string& key, int64_t low, int64_t high) {
  std::vector<int64_t> out;
  for (const Json& element : array(key)) {
    int64_t value = 0;
    if (!read_integer(element, low, high, &value)) {
      fail(key + "[" + std::to_string(out.size()) + "]", quote(element), integer_range(low, high));
      return {};
    }
    out.push_back(value);
  }
  return out;
}

std::vector<double> Fields::numbers(const std::string& key, double low, double high) {
  std::vector<double> out;
  for (const Json& element : array(key)) {
    double value = 0;
    if (!read_number(element, low, high, &value)) {
      fail(key + "[" + std::to_string(out.size()) + "]", quote(element), number_range(low, high));
      return {};
    }
    out.push_back(value);
  }
  return out;
}

const Json& Fields::object(const std::string& key) {
  const Json* value = require(key, "an object");
  if (value == nullptr) return kEmptyObject;
  if (value->is_object()) return *value;
  fail(key, quote(*value), "an object");
  return kEmptyObject;
}

const Json& Fields::array(const std::string& key) {
  const Json* value = require(key, "a list");
  if (value == nullptr) return kEmptyArray;
  if (value->is_array()) return *value;
  fail(key, quote(*value), "a list");
  return kEmptyArray;
}

int64_t Fields::integer_or(const std::string& key, int64_t fallback, int64_t low, int64_t high) {
  return has(key) ? integer(key, low, high) : fallback;
}
double Fields::number_or(const std::string& key, double fallback, double low, double high) {
  return has(key) ? number(key, low, high) : fallback;
}
bool Fields::boolean_or(const std::string& key, bool fallback) {
  return has(key) ? boolean(key) : fallback;
}
std::string Fields::text_or(const std::string& key, const std::string& fallback) {
  return has(key) ? text(key) : fallback;
}

void Fields::ignore(std::initializer_list<const char*> keys) {
  known_.insert(keys.begin(), keys.end());
}

void Fields::fail(const std::string& key, const std::string& found, const std::string& expected) {
  if (!error_) error_ = Error{file_, path_of(key), found, expected};
}

std::optional<Error> Fields::finish() {
  if (error_ || !object_.is_object()) return error_;
  for (const auto& item : object_.items()) {
    if (known_.count(item.key()) > 0) continue;
    fail(printable(item.key()), "an unknown key", "only known keys");
    break;
  }
  return error_;
}

}  // namespace shardwright
