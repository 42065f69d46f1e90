// SPDX-License-Identifier: Apache-2.0
#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

namespace ds01::config {
namespace {

std::unexpected<Error> fail_at(const std::string& name, int line, std::string_view reason) {
  return fail(ErrorCode::invalid, fmt::format("{}:{}: {}", name, line, reason));
}

// yaml-cpp counts lines from 0, and from -1 where it does not know.
int line_of(const YAML::Mark& mark) { return std::max(mark.line, 0) + 1; }

// Builds the tree from yaml-cpp's events. Its own node type is no use here: it merges repeated keys silently, and
// shares nodes between aliases, so that a walk over a small file can take forever. After the first refusal nothing is
// stored.
class TreeBuilder final : public YAML::EventHandler {
 public:
  struct Refusal {
    int line;
    std::string reason;
  };

  const std::optional<Refusal>& refusal() const { return refusal_; }
  std::optional<Node> take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      refuse(mark, "something follows the end of the document; write one document without '---' in it");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (accepts(mark, "", anchor)) add({Node::Kind::nothing, line_of(mark), {}, {}});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (accepts(mark, tag, anchor)) add({Node::Kind::scalar, line_of(mark), value, {}});
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  void refuse(const YAML::Mark& mark, std::string reason) {
    if (!refusal_) refusal_ = Refusal{line_of(mark), std::move(reason)};
  }
  void refuse_anchor(const YAML::Mark& mark) {
    refuse(mark, "anchors (&name) and aliases (*name) are not accepted; write the value out");
  }

  bool accepts(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) refuse_anchor(mark);
    // "?" and "!" are how yaml-cpp says "no tag": plain and quoted.
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (!name) are not accepted; write the value alone");
    return !refusal_;
  }

  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (open_.size() >= kMaxDepth) refuse(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
    if (accepts(mark, tag, anchor)) open_.push_back({kind, line_of(mark), {}, {}});
  }

  void close() {
    if (refusal_) return;
    Node node = std::move(open_.back());
    open_.pop_back();
    add(std::move(node));
  }

  void add(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Node& parent = open_.back();
    // A missing value is noticed at the token after it, often on the next line: report it where its key is.
    const bool is_value = parent.kind == Node::Kind::map && parent.items.size() % 2 == 1;
    if (is_value && node.kind == Node::Kind::nothing) node.line = parent.items.back().line;
    parent.items.push_back(std::move(node));
  }

  std::vector<Node> open_;
  std::optional<Node> root_;
  std::optional<Refusal> refusal_;
  int documents_ = 0;
};

// yaml-cpp takes byte 0x04 for the end of the file and a leading NUL for UTF-16: what follows would be dropped
// silently.
bool is_control(char c) { return (c >= 0 && c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == '\x7f'; }

bool indented_with_tab(std::string_view line) {
  const auto indent = line.substr(0, line.find_first_not_of(" \t\r"));
  return indent.size() < line.size() && indent.find('\t') != std::string_view::npos;
}

Status check_line(std::string_view line, int number, const std::string& name) {
  if (const auto at = std::ranges::find_if(line, is_control); at != line.end())
    return fail_at(name, number,
                   fmt::format("control character 0x{:02x}; write plain text", static_cast<unsigned>(*at)));
  if (line.starts_with('%'))
    return fail_at(name, number, "directives (%NAME) are not accepted; write '#' for a comment");
  if (indented_with_tab(line)) return fail_at(name, number, "a tab in the indentation; indent with spaces");
  return {};
}

Status check_characters(std::string_view text, const std::string& name) {
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    DS01_CHECK(check_line(text.substr(0, end), number, name));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

// Errors at the end are found after it, where an editor has no line to show.
int last_line(std::string_view text) {
  const auto breaks = static_cast<int>(std::ranges::count(text, '\n'));
  return std::max(1, text.ends_with('\n') ? breaks : breaks + 1);
}

// yaml-cpp accepts a quoted text that is never closed, and everything after the quote is then part of the text: a
// `deny:` could vanish. An end-of-document mark is not allowed inside quotes, so one more after the file makes this an
// error.
constexpr std::string_view kEndMark = "\n...\n";

std::string describe(const YAML::Exception& e) {
  if (e.msg == YAML::ErrorMsg::DOC_IN_SCALAR) return "not valid YAML: a quoted text is not closed";
  return fmt::format("not valid YAML: {}", e.msg);
}

}  // namespace

Result<Node> parse_yaml(std::string_view text, const std::string& name) {
  DS01_CHECK(check_characters(text, name));
  TreeBuilder builder;
  try {
    std::istringstream stream(std::string(text).append(kEndMark));
    YAML::Parser parser(stream);
    while (!builder.refusal() && parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::Exception& e) {
    // A refusal came first, and says more than what the parser stumbled over later.
    if (!builder.refusal()) return fail_at(name, std::min(line_of(e.mark), last_line(text)), describe(e));
  }
  if (const auto& refusal = builder.refusal()) return fail_at(name, refusal->line, refusal->reason);
  auto root = builder.take_root();
  if (!root || root->kind == Node::Kind::nothing)
    return fail_at(name, 1, "nothing is set; the smallest file is the line 'version: 1'");
  return *std::move(root);
}

}  // namespace ds01::config
