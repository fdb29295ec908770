#include "costmodel/json.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace shardwright {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxTextBytes = size_t{64} << 20;

// Walks the text and tells through `consumed` how far the parser has read: the parser's own events
// carry no position.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, size_t* consumed) : at_(at), consumed_(consumed) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*consumed_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  size_t* consumed_;
};

// nlohmann's message without its prefix (an id and a line and column) and without its tail, which
// quotes the whole last token.
std::string reason_of(std::string message) {
  message.resize(std::min(message.size(), message.find("; last read")));
  for (const char* prefix : {"[json.exception.", "parse error at line ", "syntax error while "}) {
    if (message.find(prefix) == std::string::npos) continue;
    const char* end = prefix[0] == '[' ? "] " : prefix[0] == 'p' ? ": " : " - ";
    const size_t cut = message.find(end);
    if (cut != std::string::npos) message.erase(0, cut + std::string_view(end).size());
  }
  return printable(message, 120);
}

// Builds the value from the parser's events. Containers that are still open stand on a stack of our
// own, so hostile nesting costs no native stack; it is cut off at kMaxDepth anyway.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    // An integer literal arrives here only when it exceeds 64 bits.
    if (text.find_first_of(".eE") == string_t::npos) {
      return refuse("the integer " + printable(text, 40), "integers of at most 64 bits");
    }
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return refuse("binary data", "JSON text"); }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    Open& top = open_.back();
    if (!top.keys.insert(value).second) {
      return refuse("key \"" + printable(value) + "\" twice", "every key once");
    }
    top.key = std::move(value);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    return refuse(reason_of(error.what()), "valid JSON");
  }

  Json& root() { return root_; }
  const std::string& found() const { return found_; }
  const std::string& expected() const { return expected_; }

 private:
  struct Open {
    Json value;
    std::string key;             // of the member being read
    std::set<std::string> keys;  // all so far; a lookup in Json itself would be linear
  };

  bool refuse(std::string found, std::string expected) {
    found_ = std::move(found);
    expected_ = std::move(expected);
    return false;
  }
  bool open(Json container) {
    if (open_.size() == kMaxDepth) {
      return refuse("nesting deeper than " + std::to_string(kMaxDepth), "at most that depth");
    }
    open_.push_back({std::move(container), {}, {}});
    return true;
  }
  bool close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(value));
  }
  bool add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (Json& into = open_.back().value; into.is_array()) {
      into.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      // Past ordered_map's own insertion, which searches all keys again.
      auto& members = static_cast<Json::object_t::Container&>(into.get_ref<Json::object_t&>());
      members.emplace_back(std::move(open_.back().key), std::move(value));
    }
    return true;
  }

  std::vector<Open> open_;
  Json root_;
  std::string found_, expected_;
};

Error at_byte(const std::string& file, size_t offset, std::string found, std::string expected) {
  return {file, "byte " + std::to_string(offset), std::move(found), std::move(expected)};
}

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& file) {
  if (text.size() > kMaxTextBytes) {
    return Error{file, "", std::to_string(text.size()) + " bytes", "at most 64 MiB of JSON"};
  }
  // The parser would take a zero byte for the end of the text.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return at_byte(file, zero, "a zero byte", "valid JSON");
  }
  size_t consumed = 0;
  Builder builder;
  const bool parsed = Json::sax_parse(CountingIterator(text.data(), &consumed),
                                      CountingIterator(text.data() + text.size(), &consumed),
                                      static_cast<nlohmann::json_sax<Json>*>(&builder));
  if (!parsed) return at_byte(file, consumed, builder.found(), builder.expected());
  return std::move(builder.root());
}

}  // namespace shardwright
