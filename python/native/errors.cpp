#include "python/native/errors.h"

#include <exception>
#include <string>

namespace nb = nanobind;

namespace blip::python {
namespace {

// The class is Python's own, so that it can be pickled. Found once, when the module is made: an
// import lets other threads run. Never let go, as modules are not.
PyObject* blip_error = nullptr;

void translate(const std::exception_ptr& raised, void*) {
  try {
    std::rethrow_exception(raised);
  } catch (const Error& error) {
    PyErr_SetObject(blip_error, to_python(error).ptr());
  }
}

}  // namespace

void translate_errors() {
  blip_error =
      nb::object(nb::module_::import_("blip_cpp.errors").attr("BlipError")).release().ptr();
  nb::register_exception_translator(translate);
}

nb::object to_python(const Error& error) {
  // Messages name files, whose names may be no UTF-8.
  const std::string what = error.what();
  const nb::object message = nb::steal(
      PyUnicode_DecodeUTF8(what.data(), static_cast<Py_ssize_t>(what.size()), "backslashreplace"));
  const std::string code(name(error.code()));
  return nb::handle(blip_error)(message, code.c_str());
}

}  // namespace blip::python
