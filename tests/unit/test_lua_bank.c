/* The example of the contract: a bank as an application would write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_rig.h"

static const char bank[] =
    "on('first_run', function()\n"
    "  for _, name in ipairs{'alice', 'bob'} do set('acc:' .. name, {balance = 100}) end\n"
    "end)\n"
    "route('transfer', 'json', {method = 'POST'}, function(args, req)\n"
    "  if args.from == args.to or args.amount <= 0 then return 400, {error = 'bad transfer'} end\n"
    "  local from, to = get('acc:' .. args.from), get('acc:' .. args.to)\n"
    "  if not from or not to then return 404, {error = 'account not found'} end\n"
    "  if from.balance < args.amount then return 409, {error = 'insufficient funds'} end\n"
    "  from.balance, to.balance = from.balance - args.amount, to.balance + args.amount\n"
    "  set('acc:' .. args.from, from)\n"
    "  set('acc:' .. args.to, to)\n"
    "  return 200, {from = from, to = to}\n"
    "end)\n"
    "route('total', 'json', function()\n"
    "  local sum, accounts = 0, json.array{}\n"
    "  for key, account in prefix('acc:') do\n"
    "    sum = sum + account.balance\n"
    "    accounts[#accounts + 1] = key\n"
    "  end\n"
    "  return 200, {sum = sum, accounts = accounts}\n"
    "end)\n"
    "route('account/:name', 'json', function(args)\n"
    "  local account, version = get('acc:' .. args.name)\n"
    "  if not account then return 404, {error = 'no account'} end\n"
    "  return 200, {balance = account.balance, version = version}\n"
    "end)\n";

static struct rig rig;

static int setup(void **state) {
    (void)state;
    rig_init(&rig);
    assert_null(rig_load(&rig, bank));
    assert_string_equal(rig_first_run(&rig), "200 ");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rig_free(&rig);
    return 0;
}

/* A transfer moves money and answers with both accounts. */
static void transfer_moves_money(void **state) {
    (void)state;
    assert_true(rig.txn.first_run);
    assert_string_equal(
        rig_post(&rig, "transfer", "{\"from\":\"alice\",\"to\":\"bob\",\"amount\":30}"),
        "200 {\"from\":{\"balance\":70},\"to\":{\"balance\":130}}");
    assert_int_equal(rig.verdict, PROC_COMMIT);
    assert_string_equal(rig_get(&rig, "account/alice"), "200 {\"balance\":70,\"version\":2}");
    assert_string_equal(
        rig_get(&rig, "total"), "200 {\"accounts\":[\"acc:alice\",\"acc:bob\"],\"sum\":200}");
}

/* The same with every key remote: the handler waits for each and answers the same. */
static void transfer_waits_for_remote_keys(void **state) {
    (void)state;
    rig.remote = true;
    assert_string_equal(
        rig_post(&rig, "transfer", "{\"from\":\"alice\",\"to\":\"bob\",\"amount\":30}"),
        "200 {\"from\":{\"balance\":70},\"to\":{\"balance\":130}}");
    assert_int_equal(rig.waits, 2);
    assert_string_equal(
        rig_get(&rig, "total"), "200 {\"accounts\":[\"acc:alice\",\"acc:bob\"],\"sum\":200}");
    assert_int_equal(rig.waits, 1);
}

/* A status of 4xx that is returned still commits; nothing was written here. */
static void refusals_are_replies(void **state) {
    (void)state;
    assert_string_equal(
        rig_post(&rig, "transfer", "{\"from\":\"alice\",\"to\":\"bob\",\"amount\":3000}"),
        "409 {\"error\":\"insufficient funds\"}");
    assert_int_equal(rig.verdict, PROC_COMMIT);
    assert_string_equal(
        rig_post(&rig, "transfer", "{\"from\":\"alice\",\"to\":\"nobody\",\"amount\":3}"),
        "404 {\"error\":\"account not found\"}");
    assert_string_equal(rig_get(&rig, "account/nobody"), "404 {\"error\":\"no account\"}");
}

/* An unknown route is 404, a method that a route does not take 405. */
static void routes_are_found_by_path_and_method(void **state) {
    (void)state;
    assert_string_equal(rig_get(&rig, "transfers"), "404");
    assert_string_equal(rig_get(&rig, "account/"), "404");
    assert_string_equal(rig_get(&rig, "transfer"), "405 POST");
}

/* A handler's error is a 500 and writes nothing. */
static void errors_roll_back(void **state) {
    (void)state;
    assert_string_equal(rig_post(&rig, "transfer", "{\"from\":\"alice\"}"), "FAIL handler error");
    assert_int_equal(rig.verdict, PROC_FAIL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(transfer_moves_money, setup, teardown),
        cmocka_unit_test_setup_teardown(transfer_waits_for_remote_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_replies, setup, teardown),
        cmocka_unit_test_setup_teardown(routes_are_found_by_path_and_method, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_roll_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
