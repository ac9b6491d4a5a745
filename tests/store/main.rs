//! The conformance suite of the store: each behaviour is written once and runs against SQLite and PostgreSQL.
//!
//! A behaviour is an `async fn(Arc<Database>)` in one of the modules below; the list at the end makes two tests of
//! it, `conformance::sqlite::…` and `conformance::postgres::…`. Each gets a database of its own. PostgreSQL is the
//! server of `TEST_DATABASE_URL`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]

#[macro_use]
#[path = "../told/mod.rs"]
mod told;

mod batches;
mod claims;
#[path = "../traces/dump.rs"]
mod dump;
mod erasure;
mod finding;
mod followers;
mod foreign;
mod forgetting;
mod guards;
mod harness;
mod idempotency;
mod lapses;
mod lifetimes;
mod log;
mod memory;
mod migrations;
mod names;
mod notary;
mod outages;
mod past;
mod people;
mod proxy;
mod rebuild;
mod restart;
mod rotation;
#[path = "../traces/search.rs"]
mod search;
mod secrets;
mod sessions;
mod tamper;
mod undelivered;
mod upkeep;

/// Makes the tests of both engines out of one list, and those that only one engine can have.
macro_rules! conformance {
    (
        both { $($module:ident::$name:ident,)* }
        postgres { $($pg_module:ident::$pg_name:ident,)* }
    ) => {
        mod conformance {
            mod sqlite {
                use crate::harness::{Kind, run};
                $(#[test] fn $name() { run(Kind::Sqlite, crate::$module::$name); })*
            }
            mod postgres {
                use crate::harness::{Kind, run};
                $(#[test] fn $name() { run(Kind::Postgres, crate::$module::$name); })*
                $(#[test] fn $pg_name() { run(Kind::Postgres, crate::$pg_module::$pg_name); })*
            }
        }
    };
}

conformance! {
    both {
        log::positions_are_dense_for_a_tailing_reader_whatever_is_refused,
        log::an_event_cannot_be_changed_deleted_or_replaced,
        log::recorded_at_never_goes_back_even_when_the_clock_does,
        log::the_stored_leaf_is_the_hash_of_the_stored_row,
        log::the_log_is_the_same_however_it_is_read,
        names::one_address_in_many_spellings_is_registered_once,
        names::a_name_is_free_again_after_a_change_and_after_erasure,
        names::a_name_may_pass_from_one_account_to_another_in_one_batch,
        guards::a_block_answered_before_a_registration_commits_refuses_it,
        guards::blocks_and_registrations_at_once_never_let_one_slip_through,
        idempotency::a_repeat_gets_the_first_receipt_and_appends_nothing,
        idempotency::many_repeats_at_once_on_two_instances_append_once,
        idempotency::repeats_in_one_batch_append_once,
        idempotency::a_key_is_forgotten_after_a_day_by_the_clock_that_gave_it,
        idempotency::the_same_key_with_another_request_is_refused,
        foreign::a_foreign_program_reads_our_streams_through_the_libraries_own_store,
        batches::a_losing_unit_leaves_its_neighbours_untouched,
        batches::a_unit_the_database_refuses_fails_alone,
        batches::thirty_two_callers_share_batches_of_at_least_four,
        batches::another_instance_decides_on_what_is_in_the_log_not_on_what_it_remembers,
        batches::a_caller_that_goes_away_leaves_the_log_whole,
        memory::instances_that_append_in_turns_believe_only_what_holds,
        memory::a_row_that_a_rebuild_mended_is_not_spoilt_from_memory,
        migrations::words_that_were_there_get_what_lists_are_sorted_by,
        migrations::rules_that_were_there_are_told_where_they_were_made,
        outages::a_held_lock_delays_or_refuses_but_neither_loses_nor_doubles,
        outages::what_nobody_was_told_of_is_found_by_looking,
        restart::a_restart_loses_nothing,
        restart::a_store_opens_with_its_own_master_key_only,
        restart::two_instances_may_open_a_new_database_at_once,
        restart::what_was_handed_in_before_the_end_is_written,
        erasure::another_instance_reads_a_row_as_soon_as_it_is_answered,
        erasure::erasing_leaves_the_sealed_history_and_nothing_else,
        erasure::what_an_erased_person_was_doing_does_not_bring_a_key_back,
        erasure::a_session_cannot_begin_for_an_erased_person,
        erasure::an_address_may_be_blocked_unblocked_and_blocked_again,
        sessions::a_password_change_ends_every_other_session,
        sessions::the_end_of_all_sessions_ends_every_one,
        sessions::a_lock_ends_sessions_and_what_was_erased_opens_nothing,
        claims::of_many_who_take_from_one_share_so_many_get_some,
        claims::several_shares_are_taken_together_or_not_at_all,
        claims::what_was_taken_is_forgotten_after_its_time,
        secrets::a_live_code_cannot_be_drawn_again_and_a_newer_one_replaces_the_older,
        secrets::an_older_credential_never_replaces_a_newer_one,
        rotation::every_data_key_is_rewrapped_and_a_destroyed_one_stays_so,
        rotation::a_key_that_was_added_meanwhile_is_rewrapped_however_late,
        rotation::a_process_that_is_behind_wraps_nothing_back,
        rotation::a_retired_signing_key_is_destroyed_once_its_last_token_has_ended,
        upkeep::a_registration_nobody_verified_ends_after_a_day_and_no_other_does,
        upkeep::replicas_that_find_the_same_registrations_due_end_each_once,
        upkeep::where_a_request_came_from_is_forgotten_after_ninety_days,
        upkeep::what_has_ended_and_what_lives_is_listed_up_to_a_bound,
        upkeep::the_use_of_a_key_is_kept_by_the_minute_and_goes_with_its_owner,
        upkeep::an_authority_token_speaks_for_its_domain_until_it_is_replaced,
        forgetting::of_a_registration_that_expired_nothing_is_kept,
        forgetting::of_where_somebody_called_from_nothing_is_kept_after_ninety_days,
        forgetting::what_was_half_forgotten_is_forgotten_by_the_next_to_look,
        lapses::an_address_that_was_asked_for_is_free_when_the_request_lapses,
        lapses::a_lapsed_reservation_may_be_asked_for_again_and_a_rebuild_finds_nothing_wrong,
        lapses::after_a_long_outage_nothing_is_sent_that_works_no_more,
        lapses::guesses_at_once_are_counted_before_they_are_compared,
        lapses::an_erased_person_is_told_once_and_then_forgotten,
        lapses::a_notice_goes_to_the_address_of_the_time_it_tells_of,
        lifetimes::what_a_dialect_hands_out_works_until_its_time_is_over_and_no_instant_longer,
        undelivered::a_message_that_was_put_off_is_taken_by_one_at_a_time,
        followers::a_checkpoint_moves_in_the_transaction_of_its_rows,
        followers::a_lease_excludes_others_until_it_lapses,
        followers::what_came_to_its_end_is_forgotten_under_its_own_epoch_only,
        followers::two_instances_handle_each_event_once_and_after_an_abort_at_least_once,
        followers::a_follower_stops_at_an_event_it_cannot_handle,
        followers::a_follower_on_another_instance_is_woken,
        rebuild::a_rebuild_of_any_history_finds_no_differences,
        rebuild::a_row_edited_by_hand_is_named_and_mended_while_writers_append,
        rebuild::two_rebuilds_at_once_do_not_disturb_each_other,
        rebuild::what_ends_during_a_swap_does_not_come_back,
        rebuild::an_event_taken_out_of_the_log_is_missed,
        rebuild::large_boundaries_are_rebuilt_in_parts,
        finding::a_list_holds_whom_a_walk_over_everybody_finds,
        finding::a_walk_that_meets_nobody_is_given_up,
        finding::no_search_reads_a_whole_table,
        finding::accounts_of_a_large_domain_are_counted_beforehand,
        finding::what_somebody_is_found_by_follows_every_change_and_goes_with_them,
        finding::discovery_finds_whom_a_walk_over_everybody_finds,
        finding::whoever_hides_meanwhile_does_not_end_the_list,
        finding::statistics_are_what_a_count_over_the_log_comes_to,
        notary::every_event_is_proved_and_every_head_continues_the_one_before,
        notary::another_process_goes_on_and_brings_its_own_copies_up_to_date,
        notary::files_of_a_process_that_hangs_are_taken_over,
        notary::after_a_rotation_old_heads_stay_verifiable,
        notary::a_store_behind_its_copies_is_not_signed,
        notary::an_event_altered_before_it_was_covered_stops_the_notary,
        notary::the_tree_and_its_heads_cannot_be_changed,
        past::an_account_at_any_position_is_what_it_was_then,
        tamper::every_mutation_is_found_at_its_position_and_no_clean_store_alarms,
        migrations::every_column_has_a_comment,
    }
    postgres {
        claims::a_share_that_is_held_keeps_nobody_from_the_others,
        log::both_engines_store_and_hash_the_same_history_alike,
        outages::a_lost_answer_to_commit_neither_loses_nor_doubles,
        outages::a_lost_answer_to_a_whole_batch_neither_loses_nor_doubles,
        outages::connections_that_died_cost_no_command_and_no_read,
    }
}
