#pragma once

#include <string_view>

namespace blip::ptb {

/// What becomes of a recognised token before it is written.
enum class Treatment {
  keep,
  skip,        ///< no token
  line_break,  ///< the next caption begins
  join,        ///< soft hyphens go
  entity,      ///< &amp; becomes &
  quote,       ///< to ` ' `` ''
  open_quote,  ///< a straight single quote that opens
  less,        ///< &lt;
  greater,     ///< &gt;
  no_space,    ///< spaces become no-break spaces
  bracket,     ///< as no_space, and ( to -LRB- and so on
  smiley,      ///< round brackets only
  dash,        ///< to --
  ellipsis,    ///< to ...
  fraction,    ///< to 1/2 and so on
  currency,    ///< to cents, # and $
  cut_two,     ///< the last two characters are a token of their own
  cut_three,   ///< the last three are
  full_stop,   ///< the full stop at the end is seen once more
  initial,     ///< the same, and a token of two characters, such as "I.", is shown without it
};

/// A piece of pattern that others name in braces.
struct Definition {
  std::string_view name;
  std::string_view pattern;
};

/// The longest of all matches of `token` and then `context` wins, and among equals the first rule.
/// `context` is looked at and left.
struct Rule {
  std::string_view token;
  std::string_view context;
  Treatment treatment;
};

// Patterns are RE2's, over the bytes of PtbText::kinds. (?i: ) marks what the reference reads in
// either case. The definitions and rules say what Stanford's PTBTokenizer 3.4.1 (Manning et al.
// 2014) recognises, oddities included.
constexpr Definition kDefinitions[] = {
    {"space", R"([ \t\x8E\x8F])"},
    {"blank", R"([ \t\x8E\x8F\r\n\f\x90])"},
    {"digit", R"([0-9\x86])"},
    {"alpha", R"([A-Za-z\x80\x81])"},
    {"alnum", R"([A-Za-z\x80\x810-9\x86])"},
    {"accented", R"((?:&[aeiouAEIOU](?i:acute|grave|uml);))"},
    {"letter", R"((?:[A-Za-z\x80\x81\x84\x85]|{accented}))"},
    {"word", R"((?:{letter}(?:{letter}|{digit})*(?:[.!?]{letter}(?:{letter}|{digit})*)*))"},
    {"amp", R"((?i:&amp;))"},
    {"apos", R"((?:['\x95]|(?i:&apos;)))"},
    {"apos_like", R"((?:['`\x95\x96]|(?i:&apos;)))"},
    {"clitic", R"((?:{apos}(?:[msdMSD]|(?i:re|ve|ll))))"},
    {"not", R"((?:(?i:n){apos_like}(?i:t)))"},

    {"tag_name", R"((?:[A-Za-z][A-Za-z0-9_:.\-]*))"},
    {"tag_value", R"((?:'[^'\n]*'|"[^"\n]*"))"},
    {"tag", R"((?:<(?:[!?][A-Za-z\-][^>\r\n]*)"
            R"(|{tag_name}(?: +{tag_name}(?: *= *{tag_value})?)* */?)"
            R"(|/{tag_name}) *>))"},
    {"sentence_end", R"((?:{blank}(?:[A-Z\x81-\x83]|{blank}|{tag})))"},

    // Abbreviations, without their full stop.
    {"month", R"(jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"},
    {"weekday", R"(mon|tues?|wed|thu|thurs|fri)"},
    {"company", R"(inc|cos?|corp|pp?t(?-i:[ye])s?|ltd|plc|rt|bancorp|bhd|assn|univ|intl|sys)"},
    {"state", R"((?i:ala|ariz|calif|colo|conn|ct|dak|fla|ga|ind|kans?|ky|md|mich|minn|mo|mont|neb)"
              R"(|nev|okla|penn|tenn|va|vt|wisc?|wyo))"
              R"(|A(?i:z|rk)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass|iss)|O(?i:re)|P(?i:a)|T(?i:ex))"
              R"(|W(?i:ash))"},
    {"before_small", R"((?:(?i:{month}|{weekday}|{company}|tel|est|ext|sq|jr|sr|bros|(?:ed|ph)\.d)"
                     R"(|blvd|rd|esq|etc|al|seq|bldg)|{state}))"},
    {"title",
     R"(mrs?|ms|drs?|profs?|sens?|reps?|attys?|lt|col|gen|messrs|govs?|adm|rev|maj|sgt)"
     R"(|cpl|pvt|capt|ste?|ave|pres|lieut|hon|brig|co?mdr|pfc|spc|supts?|det|mt|ft|adj|adv)"
     R"(|asst|assoc|ens|insp|mlle|mme|msgr|sfc)"},
    {"union", R"((?i:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-u\.(?:k|s\.s\.r)))"},
    {"initials", R"((?:[A-Za-z](?:\.[A-Za-z])*|{union}))"},
    {"acronym", R"((?:[A-Za-z](?:\.[A-Za-z])+|{union}))"},
    {"before_capital", R"((?:(?i:{title}|vs|alex|wm|jos|cie|a\.k\.a|cf|treas|ph|invt|elec|natl)"
                       R"(|m(?-i:[ft])g|dept)|M(?i:iss)|{initials}))"},
    {"before_number", R"((?i:ca|figs?|prop|nos?|art|bldg|pp|op))"},
    // Words that rarely follow an acronym but in a new sentence.
    {"opener", R"((?:A(?i:bout|ccording|dditionally|fter|n|s|t)?|B(?i:ut)|E(?i:arlier))"
               R"(|H(?i:e|er|ere|owever)|I(?i:f|n|t)|L(?i:ast)|M(?i:any|ore|r\.|s\.)|N(?i:ow))"
               R"(|O(?i:nce|ne|ther|ur)|S(?i:he|ince|o|ome|uch)|W(?i:e|hen|hile|hat)|Y(?i:et|ou))"
               R"(|T(?i:hat|he|heir|hen|here|hese|hey|his)))"},

    {"number", R"((?:{digit}+|{digit}*(?:[.:,\x85\x87]{digit}+)+))"},
    {"slash", R"((?:\\?/|\x8C))"},
    {"part", R"((?:[dDoOlL]{apos_like}{alnum}))"},  // o'- of o'clock
    {"url_end", R"([^ \t\n\f\r"<>|.!?(){},\-])"},
    {"compound", R"((?:[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}))"},
    {"hyphenated", R"((?:[A-Za-z0-9][A-Za-z0-9.,\x85]*(?:-(?:[A-Za-z0-9\x85]+|{acronym}\.))+))"},
    {"thing", R"((?:{part}?{alnum}+(?:[\-_\x92]{part}?{alnum}+)*))"},
    {"joined_capitals", R"((?:[A-Z]+(?:(?:[+&]|{amp})[A-Z]+)+))"},
    {"extension", R"((?i:bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov)"
                  R"(|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip))"},
};

constexpr Rule kRules[] = {
    {R"((?i:c\+\+|[cf]#))", "", Treatment::keep},
    {R"((?i:cannot|'twas))", "", Treatment::cut_three},
    {R"((?i:'tis|gonna|gotta|lemme|gimme|wanna))", "", Treatment::cut_two},
    {R"({tag})", "", Treatment::no_space},
    {R"((?i:&(?:md|mdash|ndash);)|\x91)", "", Treatment::dash},
    {R"({amp})", "", Treatment::entity},
    {R"((?i:&(?:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);))", "", Treatment::keep},
    {R"({word})", "{clitic}", Treatment::join},
    {R"([A-Za-z\x85]*[A-MO-Za-mo-z]\x85*)", "{not}", Treatment::join},
    {R"({word})", "", Treatment::join},
    {R"({apos}(?i:n){apos}?|[lLdDjJ]{apos}|(?i:dunkin|somethin|ol){apos}|{apos}(?i:em))"
     R"(|[A-HJ-XZn]{apos_like}{alpha}{2}{alpha}*|{apos}[2-9]0(?i:s)|{apos}(?i:till?|cause))"
     R"(|{alpha}+[aeiouyAEIOUY]{apos_like}[aeiouA-Z]{alpha}*|(?i:o){apos_like}(?i:o))"
     R"(|(?i:cont'd\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l))",
     "", Treatment::keep},
    {R"((?i:y){apos})", "{alpha}", Treatment::keep},
    {R"((?i:https?)://[^ \t\n\f\r"<>|(){}]+{url_end})", "", Treatment::keep},
    // In a host's parts, digits and capitals end the match: the reference's set says so.
    {R"((?:(?i:www)\.(?:[^ \t\n\f\r"<>|.!?(){},]+\.)+[a-zA-Z]{2,4})"
     R"(|(?:[^ \t\n\f\r"`'<>|!?(){},-_$]+\.)+(?i:com|net|org|edu)))"
     R"((?:/[^ \t\n\f\r"<>|()]+{url_end})?)",
     "", Treatment::keep},
    {R"((?:(?i:&lt;)|<)?[a-zA-Z0-9][^ \t\n\f\r"<>|()\x8E{}]*@)"
     R"((?:[^ \t\n\f\r"<>|(){}.\x8E]+\.)*[^ \t\n\f\r"<>|(){}.\x8E]+(?:(?i:&gt;)|>)?)",
     "", Treatment::keep},
    {R"(@[a-zA-Z_][a-zA-Z_0-9]*|#{letter}+)", "", Treatment::keep},
    {R"({clitic}|{not})", "[^A-Za-z]", Treatment::quote},
    {R"({digit}{1,2}[\-/]{digit}{1,2}[\-/]{digit}{2,4})", "", Treatment::keep},
    {R"([\-+]?{number})", "", Treatment::join},
    {R"(\x8A?(?:\x88+|\x89+))", "", Treatment::keep},
    {R"((?:{digit}{1,4}[\- \x8E])?{digit}{1,4}{slash}{digit}{1,4})", "", Treatment::no_space},
    {R"(\x8B)", "", Treatment::fraction},
    {R"(-(?i:[rl][rcs]b)-|(?i:c\.d\.s|pro-|anti-)|(?i:s)(?:&|{amp})(?i:p-500|ls))"
     R"(|(?i:cap){apos}(?i:n)|(?i:c){apos}(?i:est))",
     "", Treatment::entity},
    {R"({compound}(?:\\?/{compound}){1,2})", "", Treatment::keep},
    {R"([A-Z]*\$|#)", "", Treatment::keep},
    {R"(\x8D)", "", Treatment::currency},
    {R"({initials}\.)", "{blank}+(?:{opener}|{tag}){blank}", Treatment::initial},
    {R"({before_number}\.)", "{blank}?{digit}", Treatment::keep},
    {R"((?i:pt)[eyEY]\.|(?i:co)\.)", "{space}(?i:ltd|lim)", Treatment::keep},
    {R"({before_small}\.)", "{sentence_end}", Treatment::full_stop},
    {R"({before_small}\.)", R"([\x00-\xff]{2})", Treatment::keep},
    {R"({before_small}\.)", "", Treatment::full_stop},
    {R"({before_capital}\.)", "", Treatment::keep},
    {R"({before_capital})", "{space}", Treatment::keep},
    {R"({initials})", "{blank}", Treatment::keep},
    {R"({apos}[0-9][0-9])", "{blank}", Treatment::keep},
    {R"((?:{letter}|{digit})+(?:\.(?:{letter}|{digit})+)*\.{extension})", "{blank}|[.?!,]",
     Treatment::keep},
    {R"({word}\.)", R"([,;:\x94])", Treatment::join},
    {R"((?:\([0-9]{2,3}\)[ \x8E]?|(?:\+\+?)?(?:[0-9]{2,4}[\- \x8E])?[0-9]{2,4}[\- \x8E]))"
     R"([0-9]{3,4}[\- \x8E]?[0-9]{3,5})"
     R"(|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5})",
     "", Treatment::bracket},
    {R"("|(?i:&quot;))", "", Treatment::skip},
    {R"(<|(?i:&lt;))", "", Treatment::less},
    {R"(>|(?i:&gt;))", "", Treatment::greater},
    {R"([<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]])", "[^A-Za-z0-9]", Treatment::smiley},
    {R"([\-^x=~<>']_[\-^x=~<>']|\([\-^x=~<>'][_.]?[\-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\))", "",
     Treatment::smiley},
    {R"([(){}\[\]])", "", Treatment::bracket},
    {R"(---?-?)", "", Treatment::dash},
    {R"(-+)", "", Treatment::keep},
    {R"(\.{3,5}|(?:\.[ \x8E]){2,4}\.|\x93)", "", Treatment::ellipsis},
    {R"(@+|#+|_+|\*+|(?:\\\*){1,3}|[,;:\x94]|[?!]+|[.=/])", "", Treatment::keep},
    {R"({hyphenated}\.)", R"([,;:\x94])", Treatment::join},
    {R"({hyphenated})", "", Treatment::join},
    {R"({thing}\.)", R"([,;:\x94])", Treatment::keep},
    {R"({thing})", "", Treatment::keep},
    {R"({joined_capitals}\.)", R"([,;:\x94])", Treatment::entity},
    {R"({joined_capitals})", "", Treatment::entity},
    {R"(')", R"([A-Za-z][^ \t\n\r\x8E])", Treatment::open_quote},
    {R"({clitic}|{not}|{apos}|''|[`\x95-\x97]{1,2})", "", Treatment::quote},
    {R"(<<|>>|[+%&~^|\\\x82\x8A\x8C\x98])", "", Treatment::keep},
    {R"(\n)", "", Treatment::line_break},
    {R"((?i:&nbsp;)|[\x00-\xff])", "", Treatment::skip},
};

}  // namespace blip::ptb
