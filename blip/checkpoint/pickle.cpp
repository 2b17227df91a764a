#include "blip/checkpoint/pickle.h"

#include <array>
#include <cstddef>
#include <iterator>
#include <utility>

#include "blip/base/error.h"

namespace blip {
namespace {

using Kind = PickleValue::Kind;

/// What a known global is, or gives when it is called.
enum class Role : std::uint8_t { dict, tensor, first_argument, opaque, dtype, storage_type };

struct Global {
  std::string_view name;
  Role role;
  DType dtype = DType::f32;
};

/// Every name that a pickle may ask for.
constexpr Global kGlobals[] = {
    {"collections.OrderedDict", Role::dict},
    {"torch._utils._rebuild_tensor", Role::tensor},
    {"torch._utils._rebuild_tensor_v2", Role::tensor},
    {"torch._utils._rebuild_parameter", Role::first_argument},
    {"torch.Size", Role::first_argument},
    {"torch.device", Role::opaque},
    {"collections.Counter", Role::opaque},
    {"builtins.set", Role::opaque},
    {"__builtin__.set", Role::opaque},
    {"_codecs.encode", Role::opaque},
    {"torch.float64", Role::dtype},
    {"torch.float32", Role::dtype},
    {"torch.float16", Role::dtype},
    {"torch.bfloat16", Role::dtype},
    {"torch.int64", Role::dtype},
    {"torch.int32", Role::dtype},
    {"torch.int16", Role::dtype},
    {"torch.int8", Role::dtype},
    {"torch.uint8", Role::dtype},
    {"torch.bool", Role::dtype},
    {"torch.DoubleStorage", Role::storage_type, DType::f64},
    {"torch.FloatStorage", Role::storage_type, DType::f32},
    {"torch.HalfStorage", Role::storage_type, DType::f16},
    {"torch.BFloat16Storage", Role::storage_type, DType::bf16},
    {"torch.LongStorage", Role::storage_type, DType::i64},
    {"torch.IntStorage", Role::storage_type, DType::i32},
    {"torch.ShortStorage", Role::storage_type, DType::i16},
    {"torch.CharStorage", Role::storage_type, DType::i8},
    {"torch.ByteStorage", Role::storage_type, DType::u8},
    {"torch.BoolStorage", Role::storage_type, DType::boolean},
};

// Pushes bound everything else: each makes at most one value, one stack slot and one item.
constexpr std::size_t kMaxPushes = 1'000'000;

PickleValue number(Kind kind, std::int64_t value) {
  PickleValue out;
  out.kind = kind;
  out.integer = value;
  return out;
}

PickleValue text(std::string_view value) {
  PickleValue out;
  out.kind = Kind::text;
  out.text = value;
  return out;
}

PickleValue container(Kind kind, std::vector<PickleRef> items = {}) {
  PickleValue out;
  out.kind = kind;
  out.items = std::move(items);
  return out;
}

/// The stack machine that a pickle is a program for; the operations below drive it.
class Machine {
 public:
  explicit Machine(ByteReader& reader) : reader_(reader) {}

  Pickle run();

  template <class T>
  T operand() {
    return reader_.number<T>();
  }

  void push(PickleRef ref) {
    count();
    stack_.push_back(ref);
  }

  void push(PickleValue value) {
    push(static_cast<PickleRef>(values_.size()));
    values_.push_back(std::move(value));
  }

  PickleRef top() const {
    const std::size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) fail("nothing is left on the stack");
    return stack_.back();
  }

  PickleRef pop() {
    const PickleRef ref = top();
    stack_.pop_back();
    return ref;
  }

  /// The topmost values, the deepest first.
  std::vector<PickleRef> pop(std::size_t count) {
    std::vector<PickleRef> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  void mark() {
    count();
    marks_.push_back(stack_.size());
  }

  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) fail("there is no mark");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void pop_value_or_mark() {
    if (!marks_.empty() && marks_.back() == stack_.size()) {
      marks_.pop_back();
    } else {
      pop();
    }
  }

  void memoize(std::size_t index) {
    if (index >= kMaxPushes) fail("there is no such place to remember a value");
    if (index >= memo_.size()) memo_.resize(index + 1, kNothing);
    memo_[index] = top();
  }
  void memoize_next() { memoize(memo_.size()); }

  void recall(std::size_t index) {
    if (index >= memo_.size() || memo_[index] == kNothing) fail("a value was never remembered");
    push(memo_[index]);
  }

  void push_text(std::uint64_t size) { push(text(reader_.text(size))); }

  void push_bytes(std::uint64_t size) {
    reader_.take(size);
    push(PickleValue());
  }

  void push_long(std::uint64_t size) {
    const std::string_view bytes = reader_.text(size);
    if (bytes.size() > sizeof(std::int64_t)) {
      PickleValue value = text(bytes);
      value.kind = Kind::big_integer;
      push(std::move(value));
      return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) {
      const bool negative = !bytes.empty() && static_cast<unsigned char>(bytes.back()) > 0x7f;
      const std::uint8_t fill = negative ? 0xff : 0;
      const std::uint8_t byte = i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : fill;
      value |= std::uint64_t{byte} << (8 * i);
    }
    push(number(Kind::integer, static_cast<std::int64_t>(value)));
  }

  void push_dict(std::vector<PickleRef> items) {
    check_pairs(items);
    push(container(Kind::dict, std::move(items)));
  }

  /// Adds to the list or dictionary on top of the stack.
  void extend(Kind kind, const std::vector<PickleRef>& items) {
    PickleValue& target = values_[top()];
    if (target.kind != kind) fail("items are added to what is no container for them");
    if (kind == Kind::dict) check_pairs(items);
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  void push_global() {
    const std::string_view module = reader_.line();
    push_global(module, reader_.line());
  }

  void push_stack_global() {
    const std::vector<PickleRef> names = pop(2);
    push_global(expect(names[0], Kind::text).text, expect(names[1], Kind::text).text);
  }

  void reduce() {
    const std::vector<PickleRef> call = pop(2);
    const Global& global = kGlobals[expect(call[0], Kind::global).integer];
    const PickleValue& arguments = expect(call[1], Kind::tuple);
    switch (global.role) {
      case Role::dict:
        if (!arguments.items.empty()) fail("an OrderedDict is made with arguments");
        return push(container(Kind::dict));
      case Role::tensor:
        return push(container(Kind::tensor, {call[1]}));
      case Role::first_argument:
        if (arguments.items.empty()) fail("a call lacks its argument");
        return push(PickleRef{arguments.items[0]});
      case Role::opaque:
        return push(PickleValue());
      default:
        fail("what is called is no function");
    }
  }

  /// The only object with a state that is read, OrderedDict, needs none of it.
  void build() {
    pop();
    if (values_[top()].kind != Kind::dict) fail("a state is given to what has none");
  }

  void check_protocol(std::uint8_t protocol) const {
    if (protocol < 2 || protocol > 5) {
      fail("protocol " + std::to_string(protocol) + " is not one of 2 to 5");
    }
  }

  void skip_frame() { reader_.take(sizeof(std::uint64_t)); }

 private:
  static constexpr PickleRef kNothing = ~PickleRef{0};

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::bad_model, reader_.where() + ": the pickle is damaged at byte " +
                                          std::to_string(reader_.position()) + ": " + what);
  }

  void count() {
    if (++pushes_ > kMaxPushes) {
      throw Error(ErrorCode::too_large, reader_.where() + " has a pickle of more than " +
                                            std::to_string(kMaxPushes) + " objects");
    }
  }

  void check_pairs(const std::vector<PickleRef>& items) const {
    if (items.size() % 2 != 0) fail("a dictionary's key has no value");
  }

  const PickleValue& expect(PickleRef ref, Kind kind) const {
    if (values_[ref].kind != kind) fail("a value of another kind was expected");
    return values_[ref];
  }

  void push_global(std::string_view module, std::string_view object) {
    const std::string name = std::string(module) + "." + std::string(object);
    for (std::size_t i = 0; i < std::size(kGlobals); ++i) {
      if (kGlobals[i].name != name) continue;
      const bool is_storage = kGlobals[i].role == Role::storage_type;
      PickleValue value =
          number(is_storage ? Kind::storage_type : Kind::global, static_cast<std::int64_t>(i));
      value.dtype = kGlobals[i].dtype;
      return push(std::move(value));
    }
    throw Error(ErrorCode::unsupported, reader_.where() + " asks for the Python object " +
                                            in_quotes(name) +
                                            "; only tensors and plain containers are loaded");
  }

  ByteReader& reader_;
  std::vector<PickleValue> values_;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleRef> memo_;
  std::size_t pushes_ = 0;
};

struct Operation {
  std::uint8_t opcode;
  void (*run)(Machine& m);
};

constexpr std::uint8_t kStop = '.';

/// What torch.save writes with protocols 2 to 5, by Python's names.
constexpr Operation kOperations[] = {
    {0x80, [](Machine& m) { m.check_protocol(m.operand<std::uint8_t>()); }},  // PROTO
    {0x95, [](Machine& m) { m.skip_frame(); }},                               // FRAME
    {'N', [](Machine& m) { m.push(PickleValue()); }},                         // NONE
    {0x88, [](Machine& m) { m.push(number(Kind::boolean, 1)); }},             // NEWTRUE
    {0x89, [](Machine& m) { m.push(number(Kind::boolean, 0)); }},             // NEWFALSE
    {'J', [](Machine& m) { m.push(number(Kind::integer, m.operand<std::int32_t>())); }},  // BININT
    {'K', [](Machine& m) { m.push(number(Kind::integer, m.operand<std::uint8_t>())); }},  // BININT1
    {'M',
     [](Machine& m) { m.push(number(Kind::integer, m.operand<std::uint16_t>())); }},  // BININT2
    {0x8a, [](Machine& m) { m.push_long(m.operand<std::uint8_t>()); }},               // LONG1
    {0x8b, [](Machine& m) { m.push_long(m.operand<std::uint32_t>()); }},              // LONG4
    {'G', [](Machine& m) { m.push_bytes(8); }},                                       // BINFLOAT
    {'U', [](Machine& m) { m.push_text(m.operand<std::uint8_t>()); }},           // SHORT_BINSTRING
    {'T', [](Machine& m) { m.push_text(m.operand<std::uint32_t>()); }},          // BINSTRING
    {0x8c, [](Machine& m) { m.push_text(m.operand<std::uint8_t>()); }},          // SHORT_BINUNICODE
    {'X', [](Machine& m) { m.push_text(m.operand<std::uint32_t>()); }},          // BINUNICODE
    {0x8d, [](Machine& m) { m.push_text(m.operand<std::uint64_t>()); }},         // BINUNICODE8
    {'C', [](Machine& m) { m.push_bytes(m.operand<std::uint8_t>()); }},          // SHORT_BINBYTES
    {'B', [](Machine& m) { m.push_bytes(m.operand<std::uint32_t>()); }},         // BINBYTES
    {0x8e, [](Machine& m) { m.push_bytes(m.operand<std::uint64_t>()); }},        // BINBYTES8
    {0x96, [](Machine& m) { m.push_bytes(m.operand<std::uint64_t>()); }},        // BYTEARRAY8
    {')', [](Machine& m) { m.push(container(Kind::tuple)); }},                   // EMPTY_TUPLE
    {0x85, [](Machine& m) { m.push(container(Kind::tuple, m.pop(1))); }},        // TUPLE1
    {0x86, [](Machine& m) { m.push(container(Kind::tuple, m.pop(2))); }},        // TUPLE2
    {0x87, [](Machine& m) { m.push(container(Kind::tuple, m.pop(3))); }},        // TUPLE3
    {'t', [](Machine& m) { m.push(container(Kind::tuple, m.pop_to_mark())); }},  // TUPLE
    {']', [](Machine& m) { m.push(container(Kind::list)); }},                    // EMPTY_LIST
    {'l', [](Machine& m) { m.push(container(Kind::list, m.pop_to_mark())); }},   // LIST
    {'a', [](Machine& m) { m.extend(Kind::list, m.pop(1)); }},                   // APPEND
    {'e', [](Machine& m) { m.extend(Kind::list, m.pop_to_mark()); }},            // APPENDS
    {'}', [](Machine& m) { m.push(container(Kind::dict)); }},                    // EMPTY_DICT
    {'d', [](Machine& m) { m.push_dict(m.pop_to_mark()); }},                     // DICT
    {'s', [](Machine& m) { m.extend(Kind::dict, m.pop(2)); }},                   // SETITEM
    {'u', [](Machine& m) { m.extend(Kind::dict, m.pop_to_mark()); }},            // SETITEMS
    {0x8f, [](Machine& m) { m.push(PickleValue()); }},                           // EMPTY_SET
    {0x90, [](Machine& m) { m.pop_to_mark(); }},                                 // ADDITEMS
    {0x91, [](Machine& m) { m.pop_to_mark(), m.push(PickleValue()); }},          // FROZENSET
    {'c', [](Machine& m) { m.push_global(); }},                                  // GLOBAL
    {0x93, [](Machine& m) { m.push_stack_global(); }},                           // STACK_GLOBAL
    {'R', [](Machine& m) { m.reduce(); }},                                       // REDUCE
    {'b', [](Machine& m) { m.build(); }},                                        // BUILD
    {'Q', [](Machine& m) { m.push(container(Kind::storage, m.pop(1))); }},       // BINPERSID
    {'(', [](Machine& m) { m.mark(); }},                                         // MARK
    {'0', [](Machine& m) { m.pop_value_or_mark(); }},                            // POP
    {'1', [](Machine& m) { m.pop_to_mark(); }},                                  // POP_MARK
    {'2', [](Machine& m) { m.push(m.top()); }},                                  // DUP
    {'q', [](Machine& m) { m.memoize(m.operand<std::uint8_t>()); }},             // BINPUT
    {'r', [](Machine& m) { m.memoize(m.operand<std::uint32_t>()); }},            // LONG_BINPUT
    {0x94, [](Machine& m) { m.memoize_next(); }},                                // MEMOIZE
    {'h', [](Machine& m) { m.recall(m.operand<std::uint8_t>()); }},              // BINGET
    {'j', [](Machine& m) { m.recall(m.operand<std::uint32_t>()); }},             // LONG_BINGET
};

using OperationTable = std::array<void (*)(Machine&), 256>;

constexpr OperationTable make_table() {
  OperationTable table{};
  for (const Operation& operation : kOperations) table[operation.opcode] = operation.run;
  return table;
}

Pickle Machine::run() {
  static constexpr OperationTable kTable = make_table();
  while (true) {
    const auto opcode = operand<std::uint8_t>();
    if (opcode == kStop) break;
    if (kTable[opcode] == nullptr) {
      fail("opcode " + std::to_string(opcode) + " is none that torch.save writes");
    }
    kTable[opcode](*this);
  }
  const PickleRef root = pop();
  return {std::move(values_), root};
}

}  // namespace

const PickleValue* Pickle::find(const PickleValue& dict, std::string_view key) const {
  if (dict.kind != Kind::dict) return nullptr;
  const PickleValue* found = nullptr;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& candidate = values_[dict.items[i]];
    if (candidate.kind == Kind::text && candidate.text == key) found = &values_[dict.items[i + 1]];
  }
  return found;
}

Pickle read_pickle(ByteReader& reader) {
  return Machine(reader).run();
}

}  // namespace blip
