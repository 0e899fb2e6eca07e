"""The joins and verdicts of people in Polars, with the same rules as `middle.py`."""

import polars as pl
from polars import col


def blank_to_null(name):
    return pl.when(col(name) != "").then(col(name))


def people_verdicts(tables):
    contact = pl.scan_parquet(tables["contact"])
    company = (
        pl.scan_parquet(tables["mirror_company"])
        .filter(col("SfdcAccountId") != "")
        .group_by(account="SfdcAccountId")
        .agg(company_gsid=col("Gsid").min(), company_hits=pl.len())
    )
    person = (
        pl.scan_parquet(tables["mirror_person"])
        .with_columns(key=col("Email").str.strip_chars().str.to_lowercase())
        .filter(col("key") != "")
        .group_by("key")
        .agg(
            person_gsid=col("Gsid").min(), person_hits=pl.len(),
            first_now=blank_to_null("FirstName").first(), last_now=blank_to_null("LastName").first(),
        )
    )
    held = pl.scan_parquet(tables["mirror_company_person"])
    company_person = (
        held.filter((col("Person_ID") != "") & (col("Company_ID") != ""))
        .group_by(person_gsid="Person_ID", company_gsid="Company_ID")
        .agg(
            gsid=col("Gsid").min(), hits=pl.len(), contact_now=blank_to_null("ExternalContactId").first(),
            account_now=blank_to_null("ExternalAccountId").first(), manager_now=blank_to_null("Manager").first(),
        )
    )
    manager = (
        held.filter((col("ExternalContactId") != "") & (col("ExternalAccountId") != ""))
        .group_by(reports_to="ExternalContactId", account="ExternalAccountId")
        .agg(manager_gsid=col("Gsid").min())
    )
    email = col("Email").str.strip_chars()
    found = (
        contact.select(
            source_id="Id", modified="SystemModstamp", email=email,
            key=pl.when(email != "").then(email.str.to_lowercase()),
            first_name=blank_to_null("FirstName"), last_name=blank_to_null("LastName"),
            account=blank_to_null("AccountId"), reports_to=blank_to_null("ReportsToId"),
        )
        .join(company, on="account", how="left")
        .join(person, on="key", how="left")
        .join(company_person, on=["person_gsid", "company_gsid"], how="left")
        .join(manager, on=["reports_to", "account"], how="left")
        .with_columns(
            own=((col("reports_to") == col("source_id")) | (col("manager_gsid") == col("gsid"))).fill_null(False)
        )
        .collect(engine="streaming")
    )
    # Only rows that share their person with another row need the windows.
    newest_first = {"descending": True, "nulls_last": True}
    twins = (
        found.filter(col("key").is_not_null() & col("key").is_duplicated())
        .sort("modified", "source_id", **newest_first)
        .with_columns(
            duplicate_of=pl.when(col("company_hits") == 1).then(col("source_id").first().over("key", "company_gsid"))
        )
        .with_columns(duplicate_of=pl.when(col("duplicate_of") != col("source_id")).then(col("duplicate_of")))
        .with_columns(
            good=(col("company_hits") == 1).fill_null(False) & col("duplicate_of").is_null()
            & (col("person_hits").fill_null(1) == 1) & (col("hits").fill_null(1) == 1)
        )
        .sort("good", descending=True, maintain_order=True)
        .select(
            "source_id", "duplicate_of", person_rows=col("good").sum().over("key"),
            person_winner=col("source_id").first().over("key") == col("source_id"),
        )
    )
    code = (
        pl.when(col("key").is_null()).then(pl.lit("BLANK_IDENTIFIER"))
        .when(col("company_hits") > 1).then(pl.lit("LOOKUP_MULTIPLE"))
        .when(col("company_gsid").is_null()).then(pl.lit("LOOKUP_NO_MATCH"))
        .when(col("duplicate_of").is_not_null()).then(pl.lit("DUPLICATE_IN_SOURCE"))
        .when((col("person_hits") > 1) | (col("hits") > 1)).then(pl.lit("AMBIGUOUS_TARGET"))
    )
    waits = (
        col("manager_gsid").is_null() & ~col("own") & col("reports_to").is_not_null() & col("account").is_not_null()
    )
    return (
        found.lazy()
        .join(twins.lazy(), on="source_id", how="left")
        .with_columns(
            code=code, person_rows=col("person_rows").fill_null(1), person_winner=col("person_winner").fill_null(True),
            manager_set=pl.when(~col("own")).then(col("manager_gsid")), waits=waits,
        )
        .with_columns(
            new_first=col("person_winner") & col("first_name").ne_missing(col("first_now")),
            new_last=col("person_winner") & col("last_name").ne_missing(col("last_now")),
            new_contact=col("source_id").ne_missing(col("contact_now")),
            new_account=col("account").ne_missing(col("account_now")),
            new_manager=~col("waits") & col("manager_set").ne_missing(col("manager_now")),
        )
        .with_columns(
            verdict=pl.when(col("code").is_not_null()).then(pl.lit("rejected"))
            .when(col("gsid").is_null()).then(pl.lit("insert"))
            .when(pl.any_horizontal("new_first", "new_last", "new_contact", "new_account", "new_manager"))
            .then(pl.lit("update"))
            .otherwise(pl.lit("unchanged"))
        )
        .select(
            "source_id", "verdict", "code", "gsid", "person_gsid", "key", "email", "first_name", "last_name", "account",
            "company_gsid", "manager_set", "waits", "reports_to", "person_rows", "person_winner", "new_first",
            "new_last", "new_contact", "new_account", "new_manager",
        )
        .collect(engine="streaming")
    )
