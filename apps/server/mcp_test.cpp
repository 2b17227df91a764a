#include "apps/server/mcp.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "apps/server/mcp_stage_test.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

Json modern(Json params = Json::object(), const std::string& version = "2026-07-28") {
  params["_meta"] = {{"io.modelcontextprotocol/protocolVersion", version},
                     {"io.modelcontextprotocol/clientCapabilities", Json::object()}};
  return params;
}

class McpTest : public testing::Test {
 protected:
  Json ask(Json message, std::string version = "2025-11-25") {
    Mcp mcp = stage.mcp();
    return mcp.answer(std::move(message), {ticket, "me", std::move(version), {}, notify()});
  }
  int error_of(Json message, std::string version = "2025-11-25") {
    const Json answer = ask(std::move(message), std::move(version));
    EXPECT_TRUE(answer.contains("error")) << answer;
    return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
  }
  std::function<void(const Json&)> notify() {
    return [this](const Json& json) { notified.push_back(json); };
  }

  Stage stage;
  Ticket ticket;
  std::vector<Json> notified;
};

TEST_F(McpTest, AgreesOnTheClientsVersionOrOffersItsNewest) {
  for (const char* version : {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}) {
    const Json answer = ask(request("initialize", {{"protocolVersion", version}}), "");
    EXPECT_EQ(answer["result"]["protocolVersion"], version);
    EXPECT_EQ(answer["result"]["serverInfo"]["name"], "blip");
    EXPECT_TRUE(answer["result"]["capabilities"].contains("tools"));
  }
  for (const char* version : {"2026-07-28", "1999-01-01", ""}) {
    EXPECT_EQ(
        ask(request("initialize", {{"protocolVersion", version}}))["result"]["protocolVersion"],
        "2025-11-25");
  }
  EXPECT_EQ(error_of(request("initialize")), -32602);
  EXPECT_EQ(error_of(request("initialize", {{"protocolVersion", 3}})), -32602);
}

TEST_F(McpTest, AnswersPingWithTheIdItCameWith) {
  for (const Json& id : {Json(0), Json(-7), Json("a"), Json(""), Json(UINT64_MAX)}) {
    const Json answer = ask(request("ping", Json::object(), id));
    EXPECT_EQ(answer, (Json{{"jsonrpc", "2.0"}, {"id", id}, {"result", Json::object()}}));
  }
}

TEST_F(McpTest, AnswersNoNotificationAndNoResponse) {
  for (const char* name : {"notifications/initialized", "notifications/cancelled", "anything"}) {
    EXPECT_TRUE(ask({{"jsonrpc", "2.0"}, {"method", name}}).is_null());
    EXPECT_TRUE(ask({{"jsonrpc", "2.0"}, {"method", name}, {"params", {1, 2}}}).is_null());
  }
  EXPECT_TRUE(ask({{"jsonrpc", "2.0"}, {"id", 1}, {"result", Json::object()}}).is_null());
  EXPECT_TRUE(ask({{"jsonrpc", "2.0"}, {"id", 1}, {"error", Json::object()}}).is_null());
}

TEST_F(McpTest, RefusesWhatIsNoRequest) {
  for (const char* text :
       {"null", "3", "\"ping\"", "{}", R"({"jsonrpc":"2.0","id":1})",
        R"({"jsonrpc":"1.0","id":1,"method":"ping"})", R"({"id":1,"method":"ping"})",
        R"({"jsonrpc":"2.0","id":1,"method":7})", R"({"jsonrpc":"2.0","id":null,"method":"ping"})",
        R"({"jsonrpc":"2.0","id":{},"method":"ping"})",
        R"({"jsonrpc":"2.0","id":[1],"method":"tools/call"})"}) {
    EXPECT_EQ(error_of(Json::parse(text)), -32600) << text;
  }
  EXPECT_EQ(error_of(request("ping", Json::array())), -32602);
  EXPECT_EQ(error_of(request("tools/call", "caption")), -32602);
  EXPECT_EQ(error_of(request("resources/list")), -32601);
  EXPECT_EQ(error_of(request("tools/list", {{"cursor", "2"}})), -32602);
}

TEST_F(McpTest, ListsTheToolsThatHaveAModel) {
  stage.tasks = {Task::vqa, Task::match, Task::search};
  const Json tools = ask(request("tools/list"))["result"]["tools"];
  ASSERT_EQ(tools.size(), 2U);
  EXPECT_EQ(tools[0]["name"], "ask");
  EXPECT_EQ(tools[1]["name"], "match");
  EXPECT_EQ(error_of(request("tools/call", caption())), -32602);
}

TEST_F(McpTest, OffersPathsToTheLocalUserAlone) {
  const Json remote = stage.mcp().answer(request("tools/list"), {ticket, "", ""});
  for (const Json& tool : remote["result"]["tools"]) {
    EXPECT_FALSE(tool["inputSchema"]["properties"].contains("path"));
    EXPECT_TRUE(tool["inputSchema"]["properties"].contains("image"));
    EXPECT_EQ(tool["inputSchema"]["required"].back(), "image");
  }
  Mcp local = stage.mcp(100);
  const Json listed = local.answer(request("tools/list"), {ticket, "", ""});
  for (const Json& tool : listed["result"]["tools"])
    EXPECT_TRUE(tool["inputSchema"]["properties"].contains("path"));

  const Json result = ask(request("tools/call", caption({{"path", "/etc/passwd"}})))["result"];
  EXPECT_EQ(result["isError"], true);
  EXPECT_NE(result["content"][0]["text"].get<std::string>().find("\"path\" is not known"),
            std::string::npos);
}

TEST_F(McpTest, ReadsALocalFileOfLimitedSize) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "mcp_test.bin";
  std::ofstream(file) << "twelve bytes";
  std::string got;
  stage.act = [&](Task, const TaskInput& input, const Ticket&, const Events&) {
    got = input.images.at(0);
    return Json{{"captions", Json::array()}};
  };
  const auto call = [&](std::size_t limit, const std::filesystem::path& path) {
    return stage.mcp(limit).answer(request("tools/call", caption({{"path", path.string()}})),
                                   {ticket, "", ""})["result"];
  };
  EXPECT_FALSE(call(12, file).contains("isError"));
  EXPECT_EQ(got, "twelve bytes");
  EXPECT_EQ(call(11, file)["isError"], true);
  EXPECT_EQ(call(12, "/dev/zero")["isError"], true);
  EXPECT_EQ(call(12, file.parent_path())["isError"], true);
  EXPECT_EQ(call(12, file / "nothing")["isError"], true);
  std::filesystem::remove(file);
}

TEST_F(McpTest, CallsAToolWithTheApisFields) {
  Task called{};
  TaskInput got;
  stage.act = [&](Task task, const TaskInput& input, const Ticket&, const Events&) {
    called = task;
    got = input;
    return Json{{"questions",
                 {{{"question", "is it red?"},
                   {"truncated", false},
                   {"answers", {{{"text", "yes"}, {"probability", 0.75}, {"tokens", {1}}}}}}}},
                {"seconds", 1}};
  };
  const Json result = ask(request("tools/call", {{"name", "ask"},
                                                 {"arguments",
                                                  {{"image", "data:image/png;base64," + kPicture},
                                                   {"questions", {"is it red?"}},
                                                   {"num_answers", 1}}}}))["result"];
  EXPECT_EQ(called, Task::vqa);
  EXPECT_EQ(got.images, std::vector<std::string>{"hello"});
  EXPECT_EQ(got.fields, (Json{{"question", {"is it red?"}}, {"num_answers", 1}}));
  EXPECT_EQ(result["content"], (Json{{{"type", "text"}, {"text", "is it red? yes (0.75)"}}}));
  EXPECT_EQ(result["structuredContent"]["questions"][0]["answers"],
            (Json{{{"text", "yes"}, {"probability", 0.75}}}));
  EXPECT_FALSE(result.contains("isError"));
}

TEST_F(McpTest, TellsMatchesWithTheScoresThatThereAre) {
  stage.act = [](Task, const TaskInput& input, const Ticket&, const Events&) {
    EXPECT_EQ(input.fields, (Json{{"text", {"a", "b"}}}));
    return Json{{"matches",
                 {{{"text", "a"}, {"truncated", false}, {"itm_probability", 0.5}},
                  {{"text", "b"}, {"truncated", false}, {"itc_similarity", 0.25}}}}};
  };
  const Json params = {{"name", "match"},
                       {"arguments", {{"image", kPicture}, {"texts", {"a", "b"}}}}};
  EXPECT_EQ(ask(request("tools/call", params))["result"]["content"][0]["text"],
            "a: probability 0.5\nb: similarity 0.25");
}

TEST_F(McpTest, ErrorsOfAToolAreResults) {
  stage.act = [](Task, const TaskInput&, const Ticket&, const Events&) -> Json {
    throw Error(ErrorCode::bad_image, "this is no picture");
  };
  const Json answer = ask(request("tools/call", caption()));
  EXPECT_EQ(
      answer["result"],
      (Json{{"content", {{{"type", "text"}, {"text", "this is no picture"}}}}, {"isError", true}}));
  for (const Json& arguments :
       {Json::object(), Json{{"image", 3}}, Json{{"image", "!"}}, Json{{"image", nullptr}},
        Json{{"image", "https://example.org/a.png"}}, Json{{"image", "data:image/png,abc"}},
        Json{{"image", kPicture}, {"temperature", 2}}, Json{{"image", {kPicture}}}}) {
    EXPECT_EQ(ask(request("tools/call", caption(arguments)))["result"]["isError"], true)
        << arguments;
  }
}

TEST_F(McpTest, ErrorsOfTheProtocolAreNot) {
  EXPECT_EQ(error_of(request("tools/call", {{"name", "paint"}})), -32602);
  EXPECT_EQ(error_of(request("tools/call", {{"name", 1}})), -32602);
  EXPECT_EQ(error_of(request("tools/call")), -32602);
  EXPECT_EQ(error_of(request("tools/call", {{"name", "caption"}, {"arguments", {1}}})), -32602);
  stage.act = [](Task, const TaskInput&, const Ticket&, const Events&) -> Json {
    throw std::runtime_error("a defect");
  };
  EXPECT_EQ(error_of(request("tools/call", caption())), -32603);
  stage.act = [](Task, const TaskInput&, const Ticket&, const Events&) -> Json {
    throw std::bad_alloc();
  };
  EXPECT_EQ(error_of(request("tools/call", caption())), -32603);
}

TEST_F(McpTest, TellsProgressToWhoGaveAToken) {
  stage.act = [](Task, const TaskInput&, const Ticket&, const Events& events) {
    if (events) {
      events("progress", {{"stage", "encoding"}});
      events("partial", {{"text", "a"}});
      Json step = {{"stage", "round"}, {"round", 2}, {"rounds", 3}, {"done", 1}, {"of", 4}};
      events("progress", step);
      step["share"] = 0.3;  // nothing that a message says
      events("progress", step);
    }
    return Json{{"captions", Json::array()}};
  };
  ask(request("tools/call", caption()));
  EXPECT_TRUE(notified.empty());
  for (const Json& token : {Json("t"), Json(0)}) {
    notified.clear();
    Json params = caption();
    params["_meta"]["progressToken"] = token;
    ask(request("tools/call", params));
    ASSERT_EQ(notified.size(), 2U);
    EXPECT_EQ(notified[0]["method"], "notifications/progress");
    EXPECT_EQ(notified[0]["params"],
              (Json{{"progressToken", token}, {"progress", 1}, {"message", "encoding"}}));
    EXPECT_EQ(notified[1]["params"], (Json{{"progressToken", token},
                                           {"progress", 2},
                                           {"message", "round, round 2 of 3, 1 of 4"}}));
  }
  Json params = caption();
  params["_meta"]["progressToken"] = Json::array();
  EXPECT_EQ(error_of(request("tools/call", params)), -32602);
}

TEST_F(McpTest, BatchesBelongToTheOldVersions) {
  const Json batch = {request("ping", Json::object(), 1),
                      {{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}},
                      5,
                      request("initialize", {{"protocolVersion", "2025-03-26"}}, 2),
                      request("tools/call", caption(), 3)};
  for (const char* version : {"", "2024-11-05", "2025-03-26"}) {
    const Json answers = ask(batch, version);
    ASSERT_EQ(answers.size(), 4U) << answers;
    EXPECT_EQ(answers[0]["id"], 1);
    EXPECT_EQ(answers[1]["error"]["code"], -32600);
    EXPECT_EQ(answers[2]["error"]["code"], -32600);
    EXPECT_EQ(answers[3]["result"]["content"][0]["text"], "a cat");
    EXPECT_TRUE(ask(Json{{{"jsonrpc", "2.0"}, {"method", "x"}}}, version).is_null());
    EXPECT_EQ(error_of(Json::array(), version), -32600);
    EXPECT_EQ(error_of(Json(65, request("ping")), version), -32600);
    EXPECT_EQ(ask(Json::array({Json::array({batch})}), version)[0]["error"]["code"], -32600);
  }
  for (const char* version : {"2025-06-18", "2025-11-25", "2026-07-28"})
    EXPECT_EQ(error_of(batch, version), -32600) << version;
}

TEST_F(McpTest, CancelsTheRequestOfTheSameClientAlone) {
  Mcp mcp = stage.mcp();
  int ended = 0;
  const auto cancel = [&](const Json& id, const char* client) {
    mcp.answer({{"jsonrpc", "2.0"},
                {"method", "notifications/cancelled"},
                {"params", {{"requestId", id}}}},
               {ticket, client, ""});
  };
  auto tracked = mcp.track(request("tools/call", {}, 7), "me", [&] { ++ended; });
  const auto nobodys = mcp.track(request("tools/call", {}, 7), "", [&] { ended += 100; });
  cancel(7, "you");
  cancel(7, "");
  cancel("7", "me");
  cancel(nullptr, "me");
  cancel(Json::array(), "me");
  EXPECT_EQ(ended, 0);
  cancel(7, "me");
  EXPECT_EQ(ended, 1);
  tracked.reset();
  cancel(7, "me");
  EXPECT_EQ(ended, 1);
}

TEST_F(McpTest, SaysHowARequestEnded) {
  stage.act = [](Task, const TaskInput&, const Ticket& now, const Events&) -> Json {
    now.check();
    return {};
  };
  const std::pair<Ending, int> kEndings[] = {{Ending::client_left, -32800},
                                             {Ending::cancelled, -32800},
                                             {Ending::deadline, -32603},
                                             {Ending::shutdown, -32603}};
  for (const auto& [ending, code] : kEndings) {
    Ticket ended;
    ended.end(ending);
    const Json answer = stage.mcp().answer(request("tools/call", caption()), {ended, "", ""});
    EXPECT_EQ(answer["error"]["code"], code);
  }
}

TEST_F(McpTest, TheModernVersionNeedsNoBeginning) {
  for (const char* version : {"", "2025-11-25"}) {
    const Json discovered = ask(request("server/discover", modern()), version)["result"];
    EXPECT_EQ(discovered["supportedVersions"],
              (Json{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}));
    for (const char* method : {"server/discover", "tools/list", "tools/call"}) {
      const Json result = ask(request(method, modern(caption())), version)["result"];
      EXPECT_EQ(result["resultType"], "complete") << method;
      EXPECT_EQ(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "blip");
      EXPECT_EQ(result.contains("ttlMs"), std::string(method) != "tools/call");
      EXPECT_EQ(result.contains("cacheScope"), std::string(method) != "tools/call");
    }
  }
  EXPECT_FALSE(ask(request("tools/list"))["result"].contains("resultType"));
}

TEST_F(McpTest, TheModernVersionHasItsOwnErrors) {
  const Json refused = ask(request("tools/list", modern({}, "2030-01-01")))["error"];
  EXPECT_EQ(refused["code"], -32022);
  EXPECT_EQ(refused["data"]["requested"], "2030-01-01");
  EXPECT_EQ(refused["data"]["supported"][0], "2026-07-28");
  EXPECT_EQ(error_of(request("tools/list", modern({}, "2025-11-25"))), -32022);
  EXPECT_EQ(error_of(request("ping", modern())), -32601);
  EXPECT_EQ(error_of(request("server/discover")), -32602);
  Json half = modern();
  half["_meta"].erase("io.modelcontextprotocol/clientCapabilities");
  EXPECT_EQ(error_of(request("tools/list", half)), -32602);
  half["_meta"] = {{"io.modelcontextprotocol/protocolVersion", 7}};
  EXPECT_EQ(error_of(request("tools/list", half)), -32602);
  EXPECT_EQ(error_of(request("tools/list"), "2026-07-28"), -32602);
  EXPECT_EQ(error_of(request("tools/list"), "2031-01-01"), -32022);
}

TEST_F(McpTest, HeadersMustSayWhatTheMessageSays) {
  Mcp mcp = stage.mcp();
  const auto code = [&](const char* version, const char* method, const char* name) {
    const Json answer = mcp.answer(request("tools/call", modern(caption())),
                                   {ticket, "", version, McpHeaders{method, name}});
    return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
  };
  EXPECT_EQ(code("2026-07-28", "tools/call", "caption"), 0);
  EXPECT_EQ(code("", "tools/call", "caption"), -32020);
  EXPECT_EQ(code("2025-11-25", "tools/call", "caption"), -32020);
  EXPECT_EQ(code("2026-07-28", "tools/list", "caption"), -32020);
  EXPECT_EQ(code("2026-07-28", "", "caption"), -32020);
  EXPECT_EQ(code("2026-07-28", "tools/call", "ask"), -32020);
  EXPECT_EQ(code("2026-07-28", "tools/call", ""), -32020);
}

}  // namespace
}  // namespace blip::server
