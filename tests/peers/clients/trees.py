"""The CLI's trees: some accounts with their contacts, exported and imported again, in both of the forms that it knows.

A plan has a file for each object, whose records refer to each other; the other form has the contacts inside their accounts.
"""

import json
import pathlib

ACCOUNT = "Name Industry Type Phone Website BillingStreet BillingCity BillingCountry AnnualRevenue NumberOfEmployees".split()
CONTACT = "FirstName LastName Email Title Phone MailingStreet MailingCity MailingCountry Birthdate HasOptedOutOfEmail".split()
PLAN, NESTED = "Account-Contact-plan.json", "Account-Contact.json"


def folder(cli, form):
    """Where the exported trees are kept for the import."""
    path = pathlib.Path(cli.settings["work"]) / "trees" / form
    path.mkdir(parents=True, exist_ok=True)
    return path


def load(path):
    return json.loads(path.read_text())


def values(record):
    """A record without what makes it part of a tree."""
    return {name: value for name, value in record.items() if name not in ("attributes", "Contacts")}


def pairs(cli, form):
    """(accounts, contacts) of an exported tree; each contact's AccountId is `@` and its account's reference."""
    if form == "plan":
        plan = load(folder(cli, form) / PLAN)
        assert [part["sobject"] for part in plan] == ["Account", "Contact"], f"the plan is {plan}"
        return tuple(load(folder(cli, form) / part["files"][0])["records"] for part in plan)
    accounts = load(folder(cli, form) / NESTED)["records"]
    contacts = [
        contact | {"AccountId": "@" + account["attributes"]["referenceId"]}
        for account in accounts
        for contact in account.get("Contacts", {}).get("records", [])
    ]
    return accounts, contacts


def export_trees(operation, cli):
    def ids(query):
        return [record["Id"] for record in cli.run("data", "query", "--query", query)["records"]]

    chosen = ids("SELECT Id FROM Account WHERE Industry = 'Energy' ORDER BY Name LIMIT 4")
    among = f"({', '.join(repr(identity) for identity in chosen)})"
    children = ids(f"SELECT Id FROM Contact WHERE AccountId IN {among}")
    inner = f"SELECT {', '.join(CONTACT)} FROM Contacts"
    query = f"SELECT Id, {', '.join(ACCOUNT)}, ({inner}) FROM Account WHERE Id IN {among} ORDER BY Name"
    for form, words in (("plan", ["--plan"]), ("nested", [])):
        cli.run("data", "export", "tree", "--query", query, "--output-dir", str(folder(cli, form)), *words)
        accounts, contacts = pairs(cli, form)
        known = {"@" + account["attributes"]["referenceId"]: chosen[at] for at, account in enumerate(accounts)}
        contacts = [contact | {"AccountId": known[contact["AccountId"]]} for contact in contacts]
        operation.read("account", "tree", map(values, accounts), ACCOUNT, chosen, key="Name")
        operation.read("contact", "tree", map(values, contacts), CONTACT + ["AccountId"], children, key="Email")


def import_trees(operation, cli):
    for form, flag, name in (("plan", "--plan", PLAN), ("nested", "--files", NESTED)):
        renamed = cli.folder / form
        renamed.mkdir()
        # Other names and addresses, so that the copies can be told from what they are copies of.
        for path in folder(cli, form).iterdir():
            text = path.read_text()
            text = text.replace('"Name": "', f'"Name": "Tree {form} ').replace('"Email": "', f'"Email": "{form}.')
            (renamed / path.name).write_text(text)
        made = {one["refId"]: one["id"] for one in cli.run("data", "import", "tree", flag, str(renamed / name))}
        accounts, contacts = pairs(cli, form)
        operation.check(len(made) == len(accounts) + len(contacts), f"{len(made)} records were made")
        operation.wrote("account", "Name", [
            values(account) | {"Id": made[account["attributes"]["referenceId"]], "Name": f"Tree {form} {account['Name']}"}
            for account in accounts
        ])
        operation.wrote("contact", "Email", [
            values(contact)
            | {
                "Id": made[contact["attributes"]["referenceId"]],
                "Email": f"{form}.{contact['Email']}",
                "AccountId": made[contact["AccountId"].removeprefix("@")],
            }
            for contact in contacts
        ])
