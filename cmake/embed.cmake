# Makes the files of a folder part of a target: an assembler file that includes their bytes and a C++
# file with the table of them, which page_files.h declares.
function(blip_embed_page target folder)
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${folder} ${folder}/*)
  set(assembly ".section .rodata\n")
  set(declarations "")
  set(table "")
  set(number 0)
  foreach(file IN LISTS files)
    string(APPEND assembly
      ".global blip_page_${number}_begin\nblip_page_${number}_begin:\n.incbin \"${folder}/${file}\"\n"
      ".global blip_page_${number}_end\nblip_page_${number}_end:\n.byte 0\n")
    string(APPEND declarations "extern \"C\" const char blip_page_${number}_begin[], blip_page_${number}_end[];\n")
    string(APPEND table "      {\"${file}\", {blip_page_${number}_begin, blip_page_${number}_end}},\n")
    math(EXPR number "${number} + 1")
  endforeach()
  string(APPEND assembly ".section .note.GNU-stack,\"\",@progbits\n")
  set(out ${CMAKE_CURRENT_BINARY_DIR}/page_files)
  file(CONFIGURE OUTPUT ${out}.S CONTENT "${assembly}" @ONLY)
  file(CONFIGURE OUTPUT ${out}.cpp CONTENT "#include \"apps/server/page_files.h\"

${declarations}
namespace blip::server {

std::span<const PageFile> page_files() {
  static const PageFile files[] = {
${table}  };
  return files;
}

}  // namespace blip::server
" @ONLY)
  list(TRANSFORM files PREPEND ${folder}/)
  set_source_files_properties(${out}.S PROPERTIES OBJECT_DEPENDS "${files}")
  target_sources(${target} PRIVATE ${out}.S ${out}.cpp)
endfunction()
