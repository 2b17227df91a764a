# Files that become part of a target: an assembler file includes their bytes, and a C++ file has what
# apps/server/page_files.h declares.

# The files of a folder, as page_files().
function(blip_embed_page target folder)
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${folder} ${folder}/*)
  set(table "")
  set(number 0)
  foreach(file IN LISTS files)
    _blip_embed_bytes(blip_page_${number} ${folder}/${file})
    string(APPEND table "      {\"${file}\", {blip_page_${number}_begin, blip_page_${number}_end}},\n")
    math(EXPR number "${number} + 1")
  endforeach()
  list(TRANSFORM files PREPEND ${folder}/)
  _blip_embed(${target} page_files "std::span<const PageFile> page_files() {
  static const PageFile files[] = {
${table}  };
  return files;
}
" ${files})
endfunction()

# One file's content, as NAME_json() where it is NAME.json.
function(blip_embed_file target path)
  get_filename_component(name ${path} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  _blip_embed_bytes(blip_file_${name} ${path})
  _blip_embed(${target} ${name}
    "std::string_view ${name}() {\n  return {blip_file_${name}_begin, blip_file_${name}_end};\n}\n" ${path})
endfunction()

macro(_blip_embed_bytes symbol path)
  string(APPEND assembly
    ".global ${symbol}_begin\n${symbol}_begin:\n.incbin \"${path}\"\n.global ${symbol}_end\n${symbol}_end:\n.byte 0\n")
  string(APPEND declarations "extern \"C\" const char ${symbol}_begin[], ${symbol}_end[];\n")
endmacro()

function(_blip_embed target name definition)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${name})
  file(CONFIGURE OUTPUT ${out}.S CONTENT
    ".section .rodata\n${assembly}.section .note.GNU-stack,\"\",@progbits\n" @ONLY)
  file(CONFIGURE OUTPUT ${out}.cpp CONTENT "#include \"apps/server/page_files.h\"

${declarations}
namespace blip::server {

${definition}
}  // namespace blip::server
" @ONLY)
  set_source_files_properties(${out}.S PROPERTIES OBJECT_DEPENDS "${ARGN}")
  target_sources(${target} PRIVATE ${out}.S ${out}.cpp)
endfunction()
